// Command gatebench measures the gate beside a handler that does nothing.
//
//	gatehouse demo --no-serve --users 20000 --tokens 1000000 --data /tmp/million
//	go run ./server/gatebench -data /tmp/million
//
// It draws random tokens from the store, and uses each once: the first use in a new network
// is an event in the audit log. Then it starts `gatehouse serve` on the store and, on the
// same core, a net/http server with the same limits. The handler of that
// server does no work: it sends the status, headers and body that the gate was
// seen to send. Then wrk, on another core, asks the two in turn, in three ways:
// with live tokens, with forged ones (everything is right except the keyed
// part), and with mistyped ones. The two runs of a round make a pair. A machine
// is faster at one time than at another, so only the runs of a pair are compared,
// and the median of the pairs' ratios counts. The host of a virtual machine may
// take the cores away during a round. Linux reports how much it took, and such a
// round is run again.
//
// With -own, the gate is asked at an address of its own ([gate] listen), which has a
// server of its own. Behind nginx and caddy, that is a unix socket, as the manual shows, and
// the empty handler has one too.
//
// With -behind nginx (or haproxy, or caddy), wrk asks that proxy, which asks the gate or
// the empty handler, as the manual shows, and answers by itself what may pass. The proxy is
// on the servers' core too, and what it costs is printed beside. The row "nothing" is the
// same proxy when it asks nobody.
//
// With -peer "URL NAME: VALUE", another program that decides about requests takes part in
// the rounds with live tokens. wrk asks at that URL with that header. "@FILE" in place of
// the value names a file that contains it. The peer must run already, on the servers' core:
// taskset -c 0 PROGRAM. A proxy in front of it is the URL's, not that of -behind.
//
// Each run also prints how much processor time the server took for a request.
// That figure leaves out the client and other programs, but includes what the
// gate does later, when it writes last uses: so a pause follows each run. What it
// does once after its start is over before the first round.
//
// Then it prints two tables: the ratios of the pairs, and what each server did by itself.
// At the end it stops the gate and compares three counts: what wrk saw, what the
// gate says it answered, and the sum of the tokens' uses in the store. The gate
// may be slow, but it may not lose a use. The exit status says whether the counts
// agree; speed is for the reader of the table to judge.
//
// It needs Debian's packages wrk and util-linux (taskset), two cores, and a
// directory that no server holds. It changes the last uses of the tokens, so do
// not run it on a store in use. The tokens' secrets are in a file of mode 0600 in
// a temporary directory until it ends.
package main
