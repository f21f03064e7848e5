// Command versus measures the gate beside a handler that does nothing.
//
//	gatehouse demo --no-serve --users 20000 --tokens 1000000 --data /tmp/million
//	go run ./server/versus -data /tmp/million
//
// It draws random tokens from the store, starts `gatehouse serve` on it and, on
// the same core, a net/http server with the same limits whose bare handler
// sends what the gate was seen to send: status, headers, body. Then wrk, on
// another core, asks the one and the other in turn, in three ways: with live
// tokens, with forged ones (all is right about them but the part that takes the
// key), and with mistyped ones. The two runs of a round make a pair; machines
// have moods, so only what is in one pair is compared, and of the pairs' ratios
// the median counts. Of a virtual machine the host may take the cores away in
// the midst of it; Linux tells how much it took, and such a round is run again.
//
// Beside requests per second, each run says how much processor time the server
// took for a request, which leaves out the client and the neighbours but not
// what the gate does afterwards, when it writes last uses: for that, each run
// is followed by a pause.
//
// In the end it stops the gate and compares what wrk counted with what the gate
// says to have answered, and both with the sum of the tokens' uses in the store:
// it is allowed to be slow, but not to lose a use. The exit status says whether
// that held; how fast it was is for whoever reads the table.
//
// It needs Debian's packages wrk and util-linux (taskset), two cores, and a
// directory that no server holds. The tokens that it uses are used: take no
// store that somebody lives on. Their secrets are in a file of mode 0600 in a
// temporary directory until it ends.
package main
