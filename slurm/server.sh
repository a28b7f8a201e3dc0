# The last node is the servers'; the ranks start when they answer, and end with them.
rm -f "$ARTIFACT/@servers_file@"
ADHERE_SERVER_KEY=$(od -An -N24 -tx1 /dev/urandom | tr -d ' \n')
export ADHERE_SERVER_KEY
"${STEP[@]}" --ntasks=1 --nodes=1 --nodelist="$LAST" bash "$JOB_FOLDER/node.sh" serve "$LAST_ADDRESS" &
SERVER=$!
WATCHED=()
[[ ${#HERE[@]} != 0 ]] || WATCHED=(--pid "$SERVER")
