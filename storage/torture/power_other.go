//go:build !linux

package main

import "errors"

func (t *torture) power() error { return errors.New("power failures are made with ext4 on Linux") }
