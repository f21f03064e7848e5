//go:build race

package notify

const race = true
