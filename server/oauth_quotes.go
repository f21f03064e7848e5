package server

// doubleQuotes makes JSON of a text whose strings may stand in single quotes,
// as the documents print the body of a login by a provider. All else it leaves
// as it is: what was no JSON for another reason is none afterwards either.
//
// In single quotes, \' stands for a single quote, and a double quote for itself.
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
