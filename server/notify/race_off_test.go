//go:build !race

package notify

const race = false
