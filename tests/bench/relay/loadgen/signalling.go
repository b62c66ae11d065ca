package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/pion/webrtc/v4"
)

var client = &http.Client{Timeout: 40 * time.Second}

// httpSignaller is the protocol of our own benches: an offer is posted, the answer comes back.
type httpSignaller struct{ url string }

func (h *httpSignaller) close() {}

func (h *httpSignaller) publish(pc *webrtc.PeerConnection) error { return h.exchange(pc, "/pub") }

func (h *httpSignaller) subscribe(pc *webrtc.PeerConnection) error {
	if err := receiveOnly(pc); err != nil {
		return err
	}
	return h.exchange(pc, "/sub")
}

func (h *httpSignaller) exchange(pc *webrtc.PeerConnection, path string) error {
	offer, err := complete(pc, webrtc.SDPTypeOffer)
	if err != nil {
		return err
	}
	response, err := client.Post(h.url+path, "application/sdp", strings.NewReader(offer.SDP))
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", response.Status, body)
	}
	return pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: string(body)})
}

// direct connects publisher and viewer with nothing between them: what the network and the two ends cost alone.
type direct struct {
	publisher *webrtc.PeerConnection
	offer     *webrtc.SessionDescription
}

func (d *direct) close() {}

func (d *direct) publish(pc *webrtc.PeerConnection) error {
	var err error
	d.publisher = pc
	d.offer, err = complete(pc, webrtc.SDPTypeOffer)
	return err
}

func (d *direct) subscribe(pc *webrtc.PeerConnection) error {
	if err := pc.SetRemoteDescription(*d.offer); err != nil {
		return err
	}
	answer, err := complete(pc, webrtc.SDPTypeAnswer)
	if err != nil {
		return err
	}
	return d.publisher.SetRemoteDescription(*answer)
}

func receiveOnly(pc *webrtc.PeerConnection) error {
	init := webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionRecvonly}
	_, err := pc.AddTransceiverFromKind(webrtc.RTPCodecTypeVideo, init)
	return err
}

// complete makes our description and waits until every candidate is in it.
func complete(pc *webrtc.PeerConnection, kind webrtc.SDPType) (*webrtc.SessionDescription, error) {
	var description webrtc.SessionDescription
	var err error
	if kind == webrtc.SDPTypeOffer {
		description, err = pc.CreateOffer(nil)
	} else {
		description, err = pc.CreateAnswer(nil)
	}
	if err != nil {
		return nil, err
	}
	gathered := webrtc.GatheringCompletePromise(pc)
	if err := pc.SetLocalDescription(description); err != nil {
		return nil, err
	}
	<-gathered
	return pc.LocalDescription(), nil
}

type object = map[string]any

// janus speaks the JSON API of the Janus gateway: one session, one handle for each end, events by long poll.
type janus struct {
	url     string
	session int64
	feed    int64
	mutex   sync.Mutex
	waiting map[int64]chan object
	done    chan struct{}
}

const room = 1234

func newJanus(url string) (*janus, error) {
	j := &janus{url: url, waiting: map[int64]chan object{}, done: make(chan struct{})}
	id, err := j.create("", object{"janus": "create"})
	if err != nil {
		return nil, err
	}
	j.session = id
	go j.poll()
	handle, err := j.attach()
	if err != nil {
		return nil, err
	}
	body := object{
		"request": "create", "room": room, "publishers": 1, "videocodec": "vp8", "bitrate": 0,
		"notify_joining": false, "transport_wide_cc_ext": false,
	}
	_, err = j.post(fmt.Sprintf("/%d/%d", j.session, handle), object{"janus": "message", "body": body})
	return j, err
}

func (j *janus) close() {
	close(j.done)
	_, _ = j.post(fmt.Sprintf("/%d", j.session), object{"janus": "destroy"})
}

func (j *janus) publish(pc *webrtc.PeerConnection) error {
	handle, err := j.attach()
	if err != nil {
		return err
	}
	joined, err := j.message(handle, object{"request": "join", "ptype": "publisher", "room": room}, nil)
	if err != nil {
		return err
	}
	j.feed = int64(data(joined)["id"].(float64))
	offer, err := complete(pc, webrtc.SDPTypeOffer)
	if err != nil {
		return err
	}
	answer, err := j.message(handle, object{"request": "publish"}, object{"type": "offer", "sdp": offer.SDP})
	if err != nil {
		return err
	}
	return pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: sdpOf(answer)})
}

func (j *janus) subscribe(pc *webrtc.PeerConnection) error {
	handle, err := j.attach()
	if err != nil {
		return err
	}
	join := object{"request": "join", "ptype": "subscriber", "room": room, "streams": []object{{"feed": j.feed}}}
	offer, err := j.message(handle, join, nil)
	// The publisher's handshake is over on our side a little before Janus knows it.
	for try := 0; err != nil && try < 50; try++ {
		time.Sleep(100 * time.Millisecond)
		offer, err = j.message(handle, join, nil)
	}
	if err != nil {
		return err
	}
	description := webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: sdpOf(offer)}
	if err := pc.SetRemoteDescription(description); err != nil {
		return err
	}
	answer, err := complete(pc, webrtc.SDPTypeAnswer)
	if err != nil {
		return err
	}
	_, err = j.message(handle, object{"request": "start"}, object{"type": "answer", "sdp": answer.SDP})
	return err
}

func (j *janus) attach() (int64, error) {
	handle, err := j.create(fmt.Sprintf("/%d", j.session), object{"janus": "attach", "plugin": "janus.plugin.videoroom"})
	if err != nil {
		return 0, err
	}
	j.mutex.Lock()
	j.waiting[handle] = make(chan object, 16)
	j.mutex.Unlock()
	return handle, nil
}

func (j *janus) create(path string, request object) (int64, error) {
	reply, err := j.post(path, request)
	if err != nil {
		return 0, err
	}
	inner, ok := reply["data"].(object)
	if !ok {
		return 0, fmt.Errorf("janus: %v", reply)
	}
	return int64(inner["id"].(float64)), nil
}

// message sends one plugin message and waits for the plugin's event.
func (j *janus) message(handle int64, body, jsep object) (object, error) {
	request := object{"janus": "message", "body": body}
	if jsep != nil {
		request["jsep"] = jsep
	}
	if _, err := j.post(fmt.Sprintf("/%d/%d", j.session, handle), request); err != nil {
		return nil, err
	}
	j.mutex.Lock()
	events := j.waiting[handle]
	j.mutex.Unlock()
	select {
	case event := <-events:
		if problem, bad := data(event)["error"]; bad {
			return nil, fmt.Errorf("janus: %v", problem)
		}
		return event, nil
	case <-time.After(15 * time.Second):
		return nil, fmt.Errorf("janus did not answer %v", body["request"])
	}
}

func (j *janus) poll() {
	for {
		select {
		case <-j.done:
			return
		default:
		}
		response, err := client.Get(fmt.Sprintf("%s/%d?maxev=10", j.url, j.session))
		if err != nil {
			return
		}
		var events []object
		err = json.NewDecoder(response.Body).Decode(&events)
		response.Body.Close()
		if err != nil {
			continue
		}
		for _, event := range events {
			sender, ok := event["sender"].(float64)
			if event["janus"] != "event" || !ok {
				continue
			}
			j.mutex.Lock()
			waiting := j.waiting[int64(sender)]
			j.mutex.Unlock()
			select {
			case waiting <- event:
			default:
			}
		}
	}
}

func (j *janus) post(path string, request object) (object, error) {
	request["transaction"] = fmt.Sprint(nanoseconds())
	body, err := json.Marshal(request)
	if err != nil {
		return nil, err
	}
	response, err := client.Post(j.url+path, "application/json", bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	var reply object
	if err := json.NewDecoder(response.Body).Decode(&reply); err != nil {
		return nil, err
	}
	if reply["janus"] == "error" {
		return nil, fmt.Errorf("janus: %v", reply["error"])
	}
	return reply, nil
}

func data(event object) object {
	plugin, _ := event["plugindata"].(object)
	inner, _ := plugin["data"].(object)
	return inner
}

func sdpOf(event object) string {
	jsep, _ := event["jsep"].(object)
	text, _ := jsep["sdp"].(string)
	return text
}
