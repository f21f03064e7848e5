package main

import (
	"context"
	"fmt"

	"gatehouse/server"
	"gatehouse/server/api"
)

// count is what the gate has counted so far.
type count struct {
	uses     int64 // of all tokens
	answered int64 // by the gate, with 200
}

// takeCount asks the administration for every token, as `gatehouse token list`
// does.
func (v *versus) takeCount(ctx context.Context, g *gate) (c count, err error) {
	n, err := g.figure(`gatehouse_requests_total{class="2xx",route="/api/verify"}`)
	if err != nil {
		return c, err
	}
	c.answered = int64(n)
	admin := api.Dial(server.SocketPath(v.data))
	defer admin.Close()
	for t, err := range admin.Tokens(ctx, api.TokenQuery{}) {
		if err != nil {
			return c, fmt.Errorf("list the tokens: %w", err)
		}
		c.uses += t.Uses
	}
	return c, nil
}

// compare looks for lost uses. wrk hangs up at the end of a run: then each
// connection may have an answer under way that it does not count.
func (v *versus) compare(before, after count, all []contest) error {
	sent, hangups, asked := int64(0), int64(0), int64(0)
	for _, c := range all {
		if c.status != 200 {
			continue
		}
		asked++ // once, for the empty handler to learn the answer
		for _, p := range c.pairs {
			sent += p.gate.requests
			hangups += int64(v.connections)
		}
	}
	uses, answered := after.uses-before.uses, after.answered-before.answered
	fmt.Fprintf(v.out, "uses counted: %d; answered with 200: %d; wrk got: %d, and %d others may have been under way\n", uses, answered, sent+asked, hangups)
	if answered < sent+asked || answered > sent+asked+hangups {
		return fmt.Errorf("the gate answered %d times, want %d to %d", answered, sent+asked, sent+asked+hangups)
	}
	if after.uses == 0 {
		fmt.Fprintln(v.out, "this gatehouse does not count uses: there is nothing to compare")
		return nil
	}
	if uses != answered {
		return fmt.Errorf("the tokens' uses moved by %d, want %d", uses, answered)
	}
	return nil
}
