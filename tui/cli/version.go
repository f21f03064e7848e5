package cli

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"gatehouse/server/api"
)

// VersionCommand prints the version.
func VersionCommand(out *Output) *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Args: None,
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintln(out, VersionLine())
			return err
		},
	}
}

// VersionLine is what `version` and `--version` print.
func VersionLine() string {
	return fmt.Sprintf("gatehouse %s %s %s/%s", Version(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
}

// Version is the version of the module, or else the commit that the binary was built
// from.
func Version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			return s.Value[:min(12, len(s.Value))]
		}
	}
	return api.NoVersion
}
