"""The relay: signalling server, room and media plane of one session, in one process.

``app.py`` composes; ``signalling`` speaks Epic's protocol and the room's to sockets; ``core`` decides and is pure;
``rtc`` moves media. What a packet passes through, from the streamer to a player:

    udp.UdpPort        reads up to 64 datagrams per wake-up, tells STUN, DTLS and media apart, knows peers by address
    ingest.Ingest      decrypts in place and finds the stream
    source.Source      counts losses, asks for what is missing, recognises keyframes and the size of their picture
                       (core.picture), gathers packets to batches
    output.Output      one player's sequence, time and picture numbers (core.picture_numbers), and which of its
                       temporal layers pass
    batch.BatchSender  per player: one copy, the headers, encryption in place, one system call for the whole batch
    segmentation       UDP segmentation offload, or what the system has instead of it
    pacing.Pacer       holds back what a player's link cannot take at once

and what comes back:

    egress.Egress      NACKs answered from the packet cache, keyframe requests merged, reports and estimates noted,
                       layers chosen (core.layers, by picture size)
    hub.MediaHub       turns the estimates into the bitrate that is asked of the streamer's encoder

Rules of the data plane: nothing in it blocks, logs or raises for what a peer sends; every queue and table has a
bound; a packet is copied once per player and never decoded. The process must not run CPU-bound threads: every one of
them would hold the interpreter while packets wait (measured: 85 % of them lost).

``docs/relay-media.md`` tells what is negotiated, how addresses and bandwidth are decided, and what the counters mean.
"""
