package protocol

import _ "embed"

// PathAsyncAPI is where a server has the description of this protocol.
const PathAsyncAPI = "/v1/asyncapi.json"

//go:embed asyncapi.json
var asyncAPI []byte

// AsyncAPI is the AsyncAPI 3.0 document of the protocol, with a JSON Schema
// (draft 7) for each message of [Catalog] and each reply. It is made from the
// catalog, the structs, their comments and their checks. It must not be changed.
func AsyncAPI() []byte { return asyncAPI }
