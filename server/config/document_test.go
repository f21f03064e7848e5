package config_test

import (
	"errors"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"gatehouse/server/config"
	"gatehouse/storage/storagetest/must"
)

// TestFaultsHavePlaces: every error in a configuration file is reported with the file,
// the line and the key, and mostly with what to write.
func TestFaultsHavePlaces(t *testing.T) {
	const ldap = "[ldap]\nurls = [\"ldaps://ldap.example.com\"]\nbase_dn = \"dc=example,dc=org\"\n"
	const git = "\n[oauth.git]\ntype = \"github\"\nclient_id = \"x\"\nclient_secret_file = \"no-such-file\"\n"
	for _, c := range []struct{ text, want string }{
		// keys
		{"lisen = \":1\"", "line 1: unknown key lisen"},
		{"\n[tokens]\nrevael = true\nnone = 1", "line 3: unknown key tokens.revael; line 4: unknown key tokens.none"},
		{"\n[token]\nreveal = true", "line 2: unknown key token"},
		{"\nListen = \":1\"", "line 2: unknown key Listen: write listen"},
		{"[Tokens]\nreveal = true", "line 1: unknown key Tokens: write tokens"},
		{"[tokens]\nREVEAL = true", "line 2: unknown key tokens.REVEAL: write tokens.reveal"},
		{"tokens.Reveal = true", "line 1: unknown key tokens.Reveal: write tokens.reveal"},
		{"tls = {Cert = \"c\", key = \"k\"}", "line 1: unknown key tls.Cert: write tls.cert"},
		{"[oauth.git]\ntype = \"github\"\nClient_ID = \"x\"\n", "line 3: unknown key oauth.git.Client_ID: write oauth.git.client_id"},
		{ldap + "baze_dn = \"x\"", "line 4: unknown key ldap.baze_dn"},
		{ldap + "uid_attribute.x = \"mail\"", "line 4: ldap.uid_attribute.x: ldap.uid_attribute has no keys below it: write a string in quotes"},
		{"[listen]\nx = 1", "line 1: listen: is not a section: write a string in quotes"},
		{"[[tls]]\ncert = \"c\"", "line 1: tls: is not a list of sections: write [tls]"},
		{"tls = \"cert.pem\"", "line 1: tls: is a section: write [tls]"},
		{"[oauth]\ngit = \"x\"", "line 2: oauth.git: is a section: write [oauth.git]"},
		// types
		{"\nlisten = 8080", "line 2: listen: write a string in quotes"},
		{"trusted_proxies = \"10.0.0.0/8\"", `line 1: trusted_proxies: write a list of strings, such as ["one", "two"]`},
		{"[tokens]\nreveal = \"yes\"", "line 2: tokens.reveal: write true or false"},
		{"[tokens]\nmax_per_user = \"many\"", "line 2: tokens.max_per_user: write a whole number"},
		{"[tokens]\nmax_per_user = 1.5", "line 2: tokens.max_per_user: write a whole number"},
		{"[tokens]\nmax_per_user = 99999999999999999999", "line 2: "},
		{"[ldap]\nurls = [\n  \"ldaps://a\",\n  7,\n]", "line 4: ldap.urls: write a string in quotes"},
		{"[ldap]\nstart_tls = 1", "line 2: ldap.start_tls: write true or false"},
		// spans and addresses
		{"[tokens]\nmax_lifetime = 90", `line 2: tokens.max_lifetime: "90" is not a span of time: write numbers with y, w, d`},
		{"[tokens]\nmax_lifetime = [\"90d\"]", `line 2: tokens.max_lifetime: "" is not a span of time`},
		{"[tokens]\nmax_lifetime = \"6mo\"", `line 2: tokens.max_lifetime: "6mo" is not a span of time: write numbers with y, w, d`},
		{ldap + "recheck = 5", `line 4: ldap.recheck: "5" is not a span of time`},
		{ldap + "recheck = \"5ms\"", "line 4: ldap.recheck: write at least 1s, or off"},
		{ldap + "timeout = \"off\"", "line 4: ldap.timeout: a login needs a time limit: write a span such as 5s"},
		{"trusted_proxies = [\n \"10.0.0.0/8\",\n \"10.0.0.0/33\"]", `line 3: trusted_proxies: "10.0.0.0/33" is not a range of addresses such as 10.0.0.0/8 or 127.0.0.1/32`},
		{"trusted_proxies = [\"127.0.0.1\"]", "or 127.0.0.1/32"},
		// what does not fit
		{"\n\nlisten = \"8080\"", `line 3: listen: "8080" is not an address such as 127.0.0.1:8080`},
		{"\npublic_url = \"tokens.example.com\"", "line 2: public_url: "},
		{"\n[tls]\ncert = \"c\"", "line 2: tls: set both cert and key, or neither"},
		{"\ntls.cert = \"c\"", "line 2: tls: set both cert and key, or neither"},
		{"[tokens]\nmax_per_user = -1", "line 2: tokens.max_per_user: write a number from 0 to 1000000"},
		{"[tokens]\nmax_lifetime = \"90d\"\ndefault_lifetime = \"91d\"", "line 3: tokens.default_lifetime: is longer than tokens.max_lifetime, 90d"},
		{"[tokens]\nknown_scopes = [\"admin\", \"a b\"]", `line 2: tokens.known_scopes: "a b": a scope is 1 to 64 letters`},
		{"[tokens]\nknown_scopes = \"admin\"", "line 2: tokens.known_scopes: write a list of strings"},
		{"[logins]\n\naccount_failures = 0\naddress_failures = 0", "line 3: logins.account_failures: write a number from 1 to 1000000; line 4: logins.address_failures: write"},
		{"\n[ldap]\nbase_dn = \"dc=example\"", "line 2: ldap: urls is empty"},
		{"[ldap]\nurls = [\"ldap://a\"]\nfilter = \"x\"", "line 2: ldap: urls: ldap://a would send passwords in plain text: use ldaps://"},
		{"[ldap]\nurls = [\"ldap://a\"]\nfilter = \"x\"", "line 3: ldap: filter"},
		{"[ldap]\nurls = [\"ldap://a\"]\nfilter = \"x\"", "line 1: ldap: base_dn is empty"},
		{ldap + "id_attribute = \"*\"", "line 4: ldap: id_attribute"},
		{ldap + "[oauth.corp]\ntype = \"gitea\"\nurl = \"http://a\"\n", "line 6: oauth.corp: url http://a would send secrets in the clear"},
		{"[oauth.corp]\ntype = \"gitea\"\nurl = \"http://a\"\n", "line 1: oauth.corp: client_id is empty"},
		{"[oauth.a]\n[oauth.b]\ntype = \"x\"", "line 1: oauth.a: type \"\""},
		{"[oauth.a]\n[oauth.b]\ntype = \"x\"", "line 3: oauth.b: type \"x\""},
		{"[oauth.ldap]\ntype = \"github\"", "line 1: oauth.ldap: the name is reserved"},
		{"[oauth.\"a b\"]\ntype = \"github\"", "line 1: oauth.a b: \"a b\" is not a provider's name"},
		// files
		{ldap + "bind_dn = \"x\"\nbind_password_file = \"no-such-file\"", "line 5: ldap: bind_password_file: open no-such-file"},
		{ldap + "ca_file = \"no-such-file\"", "line 4: ldap: ca_file: open no-such-file"},
		{git, "line 5: oauth.git: client_secret_file: open no-such-file"},
		{"[tls]\ncert = \"no-such-file\"\nkey = \"k\"", "line 1: tls: load the certificate: open no-such-file"},
		{ldap + "ca_file = \"no-such-file\"" + git, "line 4: ldap: ca_file: open no-such-file: no such file or directory; line 8: oauth.git: client_secret_file"},
		// no TOML
		{"listen = \"a", "line 1: "},
		{"listen = \":1\"\nlisten = \":2\"", "line 2: "},
		{"[tls]\n[tls]", "line 2: "},
		{"tokens = 1\n[tokens]", "line 2: "},
	} {
		cfg, err := config.Parse("config.toml", []byte(c.text))
		if err == nil {
			err = cfg.CheckFiles()
		}
		if err == nil || !strings.HasPrefix(err.Error(), "config.toml: line ") || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s\ngot  %v\nwant config.toml: … %s", c.text, err, c.want)
		} else if strings.ContainsAny(err.Error(), "\n") {
			t.Errorf("%s\ngot several lines: %v", c.text, err)
		}
	}
}

// TestAllAtOnce: a misspelt key, a wrong value and a missing file hide nothing of each
// other, and each is reported once, in the order of the file.
func TestAllAtOnce(t *testing.T) {
	cfg, err := config.Parse("config.toml", []byte(`listne = ":1"
[tokens]
max_per_user = -1
[ldap]
urls = ["ldap://a"]
base_dn = "dc=x"
bind_dn = "cn=x"
bind_password_file = "no-such-1"
ca_file = "no-such-2"
[oauth.a]
type = "github"
client_secret_file = "no-such-3"
[oauth.b]
type = "github"
client_id = "b"
client_secret_file = "no-such-4"
[tls]
cert = "no-such-5"
`))
	if err == nil || !cfg.Decoded() {
		t.Fatalf("got %v, %v", cfg.Decoded(), err)
	}
	got := cfg.CheckFiles().Error()
	var lines []string
	for _, one := range strings.Split(strings.TrimPrefix(got, "config.toml: "), "; ") {
		line, _, _ := strings.Cut(one, ":")
		lines = append(lines, strings.TrimPrefix(line, "line "))
	}
	if want := []string{"1", "3", "5", "8", "9", "10", "12", "16", "17"}; !slices.Equal(lines, want) {
		t.Errorf("got lines %q, want %q: %s", lines, want, got)
	}
}

// TestFaultsAreWhatTheyWere: the exit status depends on it.
func TestFaultsAreWhatTheyWere(t *testing.T) {
	cfg := must.Get(config.Parse("config.toml", []byte("[tls]\ncert = \"no-such-file\"\nkey = \"k\"\n")))(t)
	if err := cfg.CheckFiles(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, which is not fs.ErrNotExist", err)
	}
}

// FuzzConfig: no file makes the reader panic, and a refusal names a line.
func FuzzConfig(f *testing.F) {
	for _, text := range []string{
		"listen = \":1\"\n", "[tls]\ncert.x = \"b\"", "z=[1, {a=1}, [[]]]", "[oauth.\"a.b\"]\nq={a=1, b={c=\"\"}}", "[[oauth]]\ns=\"\"", "[ldap]\nurls=[\n'a',\n3]", "d=1979-05-27", "\"\" = 1", "[tokens]\nmax_lifetime=1",
		"[oAuth]\n0={0={}}",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if _, err := config.Parse("config.toml", text); err != nil && !strings.HasPrefix(err.Error(), "config.toml: line ") {
			t.Errorf("%q: got %v, want a line", text, err)
		}
	})
}
