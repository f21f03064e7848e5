package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gatehouse/server/config"
	"gatehouse/storage/storagetest/must"
)

// TestNotifyErrors: what is wrong with [notify] is reported with its line, before or after
// the files are read.
func TestNotifyErrors(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"secret": "s3cret\n", "broken/token.ends.txt": "Subject: {{.Nothing}}\n", "headless/test.txt": "Dear all\n",
		"unknown/token.end.txt": "Subject: x\n", "good/token.ends.txt": "Subject: {{.Label}} {{date .End}}\n\n{{.URL}}\n", "good/readme": "",
	} {
		file := filepath.Join(dir, name)
		must.Do(t, os.MkdirAll(filepath.Dir(file), 0o700))
		must.Do(t, os.WriteFile(file, []byte(text), 0o600))
	}
	for text, want := range map[string]string{
		"": "", "command = \"true\"": "", "before_expiry = []": "", "webhook = \"http://127.0.0.1:1/x\"": "",
		"smtp = \"smtp://127.0.0.1\"\nfrom = \"a@example.com\"\ntemplates = \"DIR/good\"": "",

		"command = \"DIR/secret\"":                                           "line 2: notify.command: DIR/secret is not a program that can be run",
		"command = \"DIR/none -x\"":                                          "line 2: notify.command: stat DIR/none: no such file or directory",
		"command = \"no-such-program\"":                                      "write the whole path of the program",
		"webhook = \"http://hooks.example.com/\"":                            "line 2: notify.webhook: notices must not cross the network in the clear",
		"webhook = \"hooks\"":                                                "line 2: notify.webhook: is not a URL",
		"webhook_secret_file = \"DIR/secret\"":                               "line 2: notify.webhook_secret_file: has no effect without notify.webhook",
		"webhook = \"https://x\"\nwebhook_secret_file = \"DIR/none\"":        "line 3: notify.webhook_secret_file: ",
		"smtp = \"mail.example.com:25\"\nfrom = \"a@example.com\"":           "line 2: notify.smtp: is not a mail server",
		"smtp = \"smtp://u:p@mail.example.com\"\nfrom = \"a@b\"":             "line 2: notify.smtp: is not a mail server",
		"smtp = \"smtp://mail.example.com\"":                                 "notify.from: \"\" is not a mail address",
		"smtp = \"smtp://mail.example.com\"\nfrom = \"a@b\\r\\nBcc: c@d\"":   "line 3: notify.from: ",
		"smtp = \"smtp://m\"\nfrom = \"a@b\"\nsmtp_user = \"u\"":             "line 4: notify.smtp_user: has no effect without notify.smtp_password_file",
		"smtp = \"smtp://m\"\nfrom = \"a@b\"\nsmtp_ca_file = \"DIR/secret\"": "line 4: notify.smtp_ca_file: DIR/secret contains no certificate",
		"smtp = \"smtp://m\"\nfrom = \"a@b\"\ntemplates = \"DIR/broken\"":    "line 4: notify.templates: DIR/broken/token.ends.txt: ",
		"smtp = \"smtp://m\"\nfrom = \"a@b\"\ntemplates = \"DIR/headless\"":  "the first line must be \"Subject: \"",
		"smtp = \"smtp://m\"\nfrom = \"a@b\"\ntemplates = \"DIR/unknown\"":   "write token.ends.txt, token.network.txt",
		"before_expiry = [\"never\"]":                                        "line 2: notify.before_expiry: ",
		"before_expiry = [\"soon\"]":                                         "line 2: ",
		"before_expiry = [" + strings.Repeat("\"1d\", ", 11) + "]":           "at most 10 spans",
	} {
		in := strings.NewReplacer("DIR", dir)
		cfg, err := config.Parse("config.toml", []byte(in.Replace("[notify]\n"+text+"\n")))
		if cfg.Decoded() {
			err = cfg.CheckFiles()
		}
		if err != nil && strings.Count(err.Error(), ": notify.") > 1 {
			t.Errorf("%s: got %v, which is more than the one thing that is wrong", text, err)
		}
		if want = in.Replace(want); want == "" && err == nil {
			continue
		}
		if err == nil || want == "" || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", text, err, want)
		}
	}
}
