package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// stolen returns how long others had the two cores since the machine started, while a
// process here was ready to run: the steal time of a virtual machine (Linux,
// proc_stat(5)), in hundredths of a second.
func (b *bench) stolen() (time.Duration, error) {
	stat, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, err
	}
	return stolenIn(string(stat), b.server, b.client)
}

func stolenIn(stat string, cores ...int) (all time.Duration, err error) {
	const field = 8 // after the name: user, nice, system, idle, iowait, irq, softirq
	for _, core := range cores {
		_, rest, ok := strings.Cut(stat, fmt.Sprintf("\ncpu%d ", core))
		line, _, _ := strings.Cut(rest, "\n")
		fields := strings.Fields(line)
		if !ok || len(fields) < field {
			return 0, fmt.Errorf("/proc/stat does not say how much of core %d was stolen", core)
		}
		n, err := strconv.ParseInt(fields[field-1], 10, 64)
		if err != nil {
			return 0, fmt.Errorf("/proc/stat: %w", err)
		}
		all += time.Duration(n) * (time.Second / 100) // USER_HZ is 100
	}
	return all, nil
}
