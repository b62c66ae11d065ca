"""The relay's media plane: sockets, ICE-lite, DTLS-SRTP, SCTP, and the forwarding between them."""
