"""HTTP plumbing of the service: routing, request bodies, access checks, limits, OpenAPI."""
