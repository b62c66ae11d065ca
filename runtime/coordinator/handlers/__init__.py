"""HTTP: parse, authorise, call, render. Anything with a loop or a timer is elsewhere, except open event streams."""
