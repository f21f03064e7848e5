package scim

import (
	"net/http"

	"gatehouse/server/reply"
	"gatehouse/server/route"
)

// What the service says about itself (RFC 7643, sections 5 to 7).

type object = map[string]any

func supported(yes bool) object { return object{"supported": yes} }

// providerConfig describes what of SCIM is served.
func providerConfig(url func(path string) string) object {
	return object{
		"schemas": []string{"urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig"},
		"patch":   supported(true), "bulk": object{"supported": false, "maxOperations": 0, "maxPayloadSize": 0},
		"filter": object{"supported": true, "maxResults": mostListed}, "changePassword": supported(false), "sort": supported(false), "etag": supported(false),
		"authenticationSchemes": []object{{
			"type": "oauthbearertoken", "name": "OAuth Bearer Token", "primary": true,
			"description": "A token of a service account with the scope scim:PROVIDER, as Authorization: Bearer",
		}},
		"meta": object{"resourceType": "ServiceProviderConfig", "location": url("/ServiceProviderConfig")},
	}
}

// userType describes the one kind of resources.
func userType(url func(path string) string) object {
	return object{
		"schemas": []string{"urn:ietf:params:scim:schemas:core:2.0:ResourceType"},
		"id":      "User", "name": "User", "endpoint": "/Users", "schema": userURN, "schemaExtensions": []object{},
		"description": "A person who logs in by the provider",
		"meta":        object{"resourceType": "ResourceType", "location": url("/ResourceTypes/User")},
	}
}

// userSchema describes the attributes of a user.
func userSchema(url func(path string) string) object {
	attribute := func(name, kind, mutability, uniqueness, description string, required, exact bool) object {
		return object{
			"name": name, "type": kind, "multiValued": false, "description": description, "required": required, "caseExact": exact,
			"mutability": mutability, "returned": "default", "uniqueness": uniqueness,
		}
	}
	return object{
		"schemas": []string{"urn:ietf:params:scim:schemas:core:2.0:Schema"},
		"id":      userURN, "name": "User", "description": "A person who logs in by the provider",
		"attributes": []object{
			attribute("userName", "string", "immutable", "server", "The e-mail address that names the user; later it follows the logins", true, false),
			attribute("displayName", "string", "immutable", "none", "The person's name; later it follows the logins", false, false),
			attribute("active", "boolean", "readWrite", "none", "Whether the user's tokens work", false, false),
			attribute("externalId", "string", "readWrite", "server", "The provider's name for the user", false, true),
		},
		"meta": object{"resourceType": "Schema", "location": url("/Schemas/" + userURN)},
	}
}

// describe serves a description.
func (s *SCIM) describe(of func(url func(string) string) object) func(http.ResponseWriter, *route.Request, *caller) error {
	return func(w http.ResponseWriter, r *route.Request, _ *caller) error {
		return send(w, http.StatusOK, of(func(path string) string { return s.url(r, path) }))
	}
}

// describeOne serves the description with the id in the path.
func (s *SCIM) describeOne(of func(url func(string) string) object) func(http.ResponseWriter, *route.Request, *caller) error {
	return func(w http.ResponseWriter, r *route.Request, c *caller) error {
		if r.PathValue("id") != of(func(string) string { return "" })["id"] {
			return reply.ErrNoRoute
		}
		return s.describe(of)(w, r, c)
	}
}

// listOf makes a list of one description.
func listOf(of func(url func(string) string) object) func(url func(string) string) object {
	return func(url func(string) string) object {
		return object{
			"schemas": []string{listSchema}, "totalResults": 1, "startIndex": 1, "itemsPerPage": 1, "Resources": []object{of(url)},
		}
	}
}
