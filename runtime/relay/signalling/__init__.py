"""The relay's sockets: streamer, players, room, private interface; and the session that joins them."""
