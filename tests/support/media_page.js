// Test page: `publish` (`stream` with its signalling) stands for a streamer, `join` and `offerToReceive` for a player.
(() => {
  window.received = [];

  const useChannel = (channel) => {
    window.channel = channel;
    channel.binaryType = 'arraybuffer';
    channel.onmessage = (event) => received.push(event.data.byteLength);
  };

  const picture = (width, height) => {
    const canvas = document.createElement('canvas');
    canvas.width = width;
    canvas.height = height;
    document.body.append(canvas);
    const pen = canvas.getContext('2d');
    let frame = 0;
    setInterval(() => {
      pen.fillStyle = `hsl(${frame % 360} 70% 50%)`;
      pen.fillRect(0, 0, width, height);
      for (let i = 0; i < 20; i++) {
        pen.fillStyle = `hsl(${(i * 9 + frame) % 360} 90% 60%)`;
        pen.fillRect((i * 53 + frame * 3) % width, (i * 29) % height, 30, 12);
      }
      frame += 1;
    }, 40);
    return canvas.captureStream(25).getVideoTracks()[0];
  };

  const sound = () => {
    const context = new AudioContext();
    const tone = context.createOscillator();
    const out = context.createMediaStreamDestination();
    tone.connect(out);
    tone.start();
    return out.stream.getAudioTracks()[0];
  };

  const show = (connection) => {
    const video = document.createElement('video');
    video.autoplay = true;
    document.body.append(video);
    const stream = new MediaStream();
    video.srcObject = stream;
    connection.ontrack = (event) => stream.addTrack(event.track);
    connection.ondatachannel = (event) => useChannel(event.channel);
  };

  const gathered = (connection) => connection.localDescription.sdp;

  // A browser sends a second layer only from 640x360 on, a third from 960x540 on.
  const sizeFor = (layers) => (!layers ? [320, 180] : layers.length > 2 ? [960, 540] : [640, 360]);

  window.publish = async (codec, layers, scalability) => {
    const connection = window.connection = new RTCPeerConnection();
    useChannel(connection.createDataChannel('datachannel'));
    const stream = new MediaStream([picture(...sizeFor(layers)), sound()]);
    for (const track of stream.getTracks()) {
      const init = {direction: 'sendonly', streams: [stream]};
      if (layers && track.kind === 'video') {
        init.sendEncodings = layers.map(([rid, scale, maxBitrate]) => ({
          rid, scaleResolutionDownBy: scale, ...(maxBitrate && {maxBitrate}),
        }));
      }
      if (scalability && track.kind === 'video') {
        init.sendEncodings = [{scalabilityMode: scalability}];
      }
      connection.addTransceiver(track, init);
    }
    const transceiver = connection.getTransceivers().find((t) => t.sender.track.kind === 'video');
    const codecs = RTCRtpSender.getCapabilities('video').codecs;
    const wanted = (c) => c.mimeType.toLowerCase() === `video/${codec.toLowerCase()}`;
    transceiver.setCodecPreferences([...codecs.filter(wanted), ...codecs.filter((c) => !wanted(c))]);
    await connection.setLocalDescription();
    return gathered(connection);
  };

  window.accept = (sdp) => connection.setRemoteDescription({type: 'answer', sdp});

  window.join = async (sdp) => {
    const connection = window.connection = new RTCPeerConnection();
    show(connection);
    await connection.setRemoteDescription({type: 'offer', sdp});
    await connection.setLocalDescription();
    return gathered(connection);
  };

  window.offerToReceive = async () => {
    const connection = window.connection = new RTCPeerConnection();
    show(connection);
    useChannel(connection.createDataChannel('cirrus'));
    connection.addTransceiver('video', {direction: 'recvonly'});
    connection.addTransceiver('audio', {direction: 'recvonly'});
    await connection.setLocalDescription();
    return gathered(connection);
  };

  // As Epic's streamers do it: register, and offer to each player that the other side announces.
  window.stream = (url, codec, layers) => {
    const socket = window.signalling = new WebSocket(url);
    const say = (message) => socket.send(JSON.stringify(message));
    socket.onmessage = async ({data}) => {
      const message = JSON.parse(data);
      if (message.type === 'identify') say({type: 'endpointId', id: 'Browser'});
      if (message.type === 'playerConnected') {
        say({type: 'offer', playerId: message.playerId, sdp: await publish(codec, layers)});
      }
      if (message.type === 'answer') await accept(message.sdp);
    };
  };

  window.leave = () => connection.close();

  window.sample = async () => {
    const result = {connection: connection.connectionState};
    (await connection.getStats()).forEach((s) => {
      if (s.type === 'inbound-rtp' && s.kind === 'video') {
        Object.assign(result, {
          frames: s.framesDecoded, freezes: s.freezeCount, lost: s.packetsLost, rtx: s.retransmittedPacketsReceived,
          keyframes: s.keyFramesDecoded, width: s.frameWidth, pli: s.pliCount, nack: s.nackCount,
        });
      } else if (s.type === 'inbound-rtp' && s.kind === 'audio') {
        Object.assign(result, {samples: s.totalSamplesReceived, energy: s.totalAudioEnergy});
      } else if (s.type === 'codec' && s.mimeType.startsWith('video/') && !s.mimeType.endsWith('rtx')) {
        result.mime = s.mimeType;
      } else if (s.type === 'outbound-rtp' && s.kind === 'video') {
        Object.assign(result, {target: s.targetBitrate, sent: s.bytesSent, encoded: s.framesEncoded});
      } else if (s.type === 'candidate-pair' && s.nominated) {
        result.available = s.availableOutgoingBitrate;
      }
    });
    return result;
  };
})();
