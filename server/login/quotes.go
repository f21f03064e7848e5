package login

// doubleQuotes turns strings in single quotes, as the documented example of a login
// by a provider has them, into JSON strings. It changes nothing else: a text that
// is invalid for another reason stays so.
//
// Within single quotes, \' is a single quote, and a double quote needs no escape.
func doubleQuotes(b []byte) []byte {
	out := make([]byte, 0, len(b)+16)
	var quote byte // of the string that we are in; 0: in none
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case quote == 0 && (c == '\'' || c == '"'):
			quote = c
			out = append(out, '"')
		case quote != 0 && c == quote:
			quote = 0
			out = append(out, '"')
		case quote == '\'' && c == '"':
			out = append(out, '\\', '"')
		case quote != 0 && c == '\\' && i+1 < len(b):
			i++
			if quote == '"' || b[i] != '\'' {
				out = append(out, '\\')
			}
			out = append(out, b[i])
		default:
			out = append(out, c)
		}
	}
	return out
}
