"""What session server tests stand on: a coordinator, a relay and a title that do as told, as real processes."""
