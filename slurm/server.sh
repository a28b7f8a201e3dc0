# The last node is the servers'; the ranks start when they answer, and end with them.
rm -f "$ARTIFACT/@servers_file@"
ADHERE_SERVER_KEY=$(od -An -N24 -tx1 /dev/urandom | tr -d ' \n')
export ADHERE_SERVER_KEY
# The address as other nodes know it: a node may know its own name as that of its loopback only.
SERVER_ADDRESS=$(getent ahostsv4 "$LAST_ADDRESS" | awk 'NR == 1 { print $1 }') || true
SERVER_ADDRESS=${SERVER_ADDRESS:-$LAST_ADDRESS}
NO_PROXY=$NO_PROXY,$SERVER_ADDRESS no_proxy=$NO_PROXY,$SERVER_ADDRESS
"${STEP[@]}" --ntasks=1 --nodes=1 --nodelist="$LAST" bash "$JOB_FOLDER/node.sh" serve "$SERVER_ADDRESS" &
SERVER=$!
WATCHED=()
[[ ${#HERE[@]} != 0 ]] || WATCHED=(--pid "$SERVER")
