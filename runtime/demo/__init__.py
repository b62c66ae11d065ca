"""Everything on one machine, for a first look and for tests. Not a service: it drives the services' command lines."""
