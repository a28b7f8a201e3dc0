# The last node is the servers'; the ranks start when they answer, and end with them.
rm -f "$ARTIFACT/@servers_file@"
SERVER_ADDRESS=$(scontrol show node -o "$LAST" | sed -n 's/.* NodeAddr=\([^ ]*\).*/\1/p')
srun --mpi=none --overlap --ntasks=1 --nodes=1 --nodelist="$LAST" bash "$JOB_FOLDER/node.sh" serve "$SERVER_ADDRESS" &
SERVER=$!
[[ -n ${CONTAINER[*]} ]] || WATCHED=(--pid "$SERVER")
