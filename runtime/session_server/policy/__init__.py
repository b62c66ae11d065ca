"""Pure decisions of the session server: command lines, ports, course of a session, its end."""
