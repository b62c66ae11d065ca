"""Every template in all its branches: rendered by Ansible, judged by the program that will read it."""

from __future__ import annotations

import json
import re
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from runtime.chassis.config import load
from runtime.coordinator.config import CoordinatorConfig
from runtime.coordinator.registry_file import load_registry
from runtime.session_server.config import SessionServerConfig, check

from .running import BIN, PROJECT, ansible_environment

# Groups of the inventory that each rendering sees; hosts alone decide too little.
GROUPS: dict[str, dict[str, list[str]]] = {
    "central": {"coordinator": ["hub"], "streaming": ["gpu1"]},
    "several": {
        "coordinator": ["hub-a", "hub-b"],
        "streaming": ["gpu1"],
        "mongodb": ["hub-a", "hub-b"],
        "turn": ["hub-a"],
        "observability": ["hub-a"],
    },
    "direct": {"coordinator": ["hub"], "streaming": ["edge1"]},
    "one": {"coordinator": ["both"], "streaming": ["both"]},
}
DIRECT = {"direct"}


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Render every group layout; return its directory by name."""
    if not (BIN / "ansible-playbook").exists():
        pytest.skip("Ansible is not installed in this environment: pip install --requirement requirements/deploy.txt")
    home = tmp_path_factory.mktemp("render")
    hosts = yaml.safe_load((PROJECT / "tests/deploy/data/render.yml").read_text())["all"]
    templates = sorted(str(path) for path in (PROJECT / "roles").glob("*/templates/*.j2"))
    directories = {}
    for name, groups in GROUPS.items():
        used = {host for members in groups.values() for host in members}
        inventory: dict[str, Any] = {
            "all": {
                "vars": hosts["vars"] | ({"edge_mode": "direct"} if name in DIRECT else {}),
                "hosts": {host: hosts["hosts"][host] for host in used},
                "children": {group: {"hosts": dict.fromkeys(members)} for group, members in groups.items()},
            }
        }
        (home / f"{name}.yml").write_text(yaml.safe_dump(inventory))
        directories[name] = home / name
        (home / name).mkdir()
        result = subprocess.run(
            [
                "ansible-playbook",
                "-i",
                str(home / f"{name}.yml"),
                "tests/deploy/render.yml",
                "-e",
                json.dumps({"render_directory": str(home / name), "render_files": templates}),
            ],
            cwd=PROJECT,
            env=ansible_environment(home / "ansible"),
            capture_output=True,
            text=True,
            timeout=100,
        )
        assert result.returncode == 0, result.stdout[-4000:] + result.stderr[-2000:]
        for bundle in (home / name).glob("*.json"):
            place = bundle.with_suffix("")
            place.mkdir()
            for template, text in json.loads(bundle.read_text()).items():
                (place / Path(template).stem).write_text(text)
            bundle.unlink()
    return directories


def files(rendered: dict[str, Path], name: str) -> list[tuple[str, Path]]:
    found = [
        (f"{layout}/{path.parent.name}", path)
        for layout, top in rendered.items()
        for path in sorted(top.glob(f"*/{name}"))
    ]
    assert found
    return found


def test_coordinator_accepts_its_configuration(rendered: dict[str, Path]) -> None:
    for layout, path in files(rendered, "coordinator.json"):
        config = load(path, CoordinatorConfig)
        assert config.listen.port == 8100, layout
    several = load(rendered["several"] / "hub-a/coordinator.json", CoordinatorConfig)
    assert several.public_url == "https://play.test:8443"
    assert several.mongodb_uri.startswith(
        "mongodb://coordinator:coordinator%2Fpassword%40of%20a%20test@10.0.1.1:27017,10.0.1.2:27017/?"
    )
    assert "replicaSet=pixelstream" in several.mongodb_uri
    assert several.listen.address == "10.0.1.1"
    assert "10.0.1.2" in several.trusted_proxies
    assert several.turn is not None
    assert several.turn.urls[2] == "turns:play.test:5349?transport=tcp"
    assert several.sessions.idle_seconds == 120
    assert several.webhooks["hook"].url == "https://hook.test/"
    central = load(rendered["central"] / "hub/coordinator.json", CoordinatorConfig)
    assert central.mongodb_uri == "mongodb://127.0.0.1:27017/"
    assert central.turn is None
    assert central.control_ca_file == "/etc/pixelstream/tls/authority.pem"


def test_session_server_accepts_its_configuration(rendered: dict[str, Path]) -> None:
    for _, path in files(rendered, "session-server.json"):
        check(load(path, SessionServerConfig))
    gpu1 = load(rendered["central"] / "gpu1/session-server.json", SessionServerConfig)
    assert gpu1.relay.announced_addresses == ("198.51.100.11",)
    assert gpu1.listen.address == gpu1.relay.listen_address == "10.0.0.11"
    assert [(gpu.index, gpu.slots) for gpu in gpu1.gpus] == [(0, 2), (1, 2)]
    edge1 = load(rendered["direct"] / "edge1/session-server.json", SessionServerConfig)
    assert edge1.listen.address == edge1.relay.listen_address == "127.0.0.1", "only its own nginx reaches it"
    assert (edge1.port_range.first, edge1.port_range.last) == (9000, 9003)


def test_registry_accepts_its_file(rendered: dict[str, Path]) -> None:
    for _, path in files(rendered, "registry.json"):
        load_registry(path)
    (gpu1,) = load_registry(rendered["central"] / "hub/registry.json").session_servers
    assert gpu1.control_url == "http://10.0.0.11:8750"
    assert gpu1.edge_url == "wss://play.test/hosts/{host}/{port}"
    assert gpu1.titles["car"].executable == "/opt/pixelstream-titles/car/1.2/Car.sh"
    assert gpu1.gpus["0"].vram_bytes == 8_000_000_000
    (edge1,) = load_registry(rendered["direct"] / "hub/registry.json").session_servers
    assert edge1.control_url == "https://edge1.test"
    assert edge1.edge_url == "wss://edge1.test/relay/{port}"
    assert "car" not in edge1.titles, "its label is missing"
    (one,) = load_registry(rendered["one"] / "both/registry.json").session_servers
    assert one.control_url == "http://127.0.0.1:8750"


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def with_real_paths(source: Path, home: Path) -> Path:
    """Make a configuration runnable here: own certificate, own ports, own log; all else is left as rendered."""
    home.mkdir(parents=True, exist_ok=True)
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "2",
    ]
    names = ["-subj", "/CN=play.test", "-addext", "subjectAltName=DNS:play.test,DNS:edge1.test,DNS:both.test"]
    subprocess.run(
        [*command, *names, "-keyout", home / "privkey.pem", "-out", home / "fullchain.pem"],
        check=True,
        capture_output=True,
    )
    text = source.read_text().replace("/etc/pixelstream/tls", str(home)).replace("/var/log/nginx", str(home))
    (home / "site.conf").write_text(text)
    main = f"daemon off; pid {home}/pid; error_log {home}/main.log; events {{}}\nhttp {{ include {home}/site.conf; }}\n"
    (home / "nginx.conf").write_text(main)
    return home / "nginx.conf"


NGINX = shutil.which("nginx") or "/usr/sbin/nginx"
needs_nginx = pytest.mark.skipif(not Path(NGINX).exists(), reason="nginx is not installed: apt-get install nginx-light")


@needs_nginx
def test_nginx_accepts_its_configuration(rendered: dict[str, Path], tmp_path: Path) -> None:
    version = subprocess.run([NGINX, "-v"], capture_output=True, text=True).stderr
    new_enough = tuple(int(part) for part in re.findall(r"(\d+)\.(\d+)\.(\d+)", version)[0]) >= (1, 25, 1)
    for layout, path in files(rendered, "pixelstream.conf"):
        if "http2 on;" in path.read_text() and not new_enough:
            path = tmp_path / f"{layout.replace('/', '-')}.conf"
            path.write_text(
                (rendered[layout.split("/")[0]] / layout.split("/")[1] / "pixelstream.conf")
                .read_text()
                .replace("http2 on;", "")
            )
        main = with_real_paths(path, tmp_path / layout)
        result = subprocess.run(
            [NGINX, "-t", "-q", "-p", str(tmp_path), "-c", str(main)], capture_output=True, text=True, timeout=20
        )
        assert result.returncode == 0, f"{layout}: {result.stderr}"


class Running:
    """A real nginx with a rendered configuration, whose upstreams are a small server of ours."""

    def __init__(self, rendered_file: Path, home: Path) -> None:
        self.home, self.https, self.http = home, free_port(), free_port()
        main = with_real_paths(rendered_file, home)
        site = home / "site.conf"
        text = site.read_text()
        text = re.sub(r"listen \[::\]:\d+[^;]*;", "", text)
        text = re.sub(r"listen 443 ", f"listen 127.0.0.1:{self.https} ", text)
        text = re.sub(r"listen 80 ", f"listen 127.0.0.1:{self.http} ", text)
        self.upstream = socket.create_server(("127.0.0.1", 0))
        upstream_port = self.upstream.getsockname()[1]
        text = re.sub(
            r"(?:127\.0\.0\.1|10\.0\.0\.11):(?:81|87|89|90)\d\d(?=[;\s/]| max_fails)",
            f"127.0.0.1:{upstream_port}",
            text,
        )
        site.write_text(text)
        self.process = subprocess.Popen([NGINX, "-p", str(home), "-c", str(main)], stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", self.https), timeout=1).close()
                return
            except OSError:
                assert self.process.poll() is None, (home / "main.log").read_text()
        raise AssertionError("nginx did not start")

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(10)
        self.upstream.close()

    def ask(self, path: str, name: str = "play.test", headers: str = "", host: str = "") -> tuple[int, str, str]:
        """Return (status, head of the answer, what the upstream saw)."""
        context = ssl.create_default_context(cafile=str(self.home / "fullchain.pem"))
        self.upstream.settimeout(0.5)
        with (
            socket.create_connection(("127.0.0.1", self.https), timeout=5) as plain,
            context.wrap_socket(plain, server_hostname=name) as secure,
        ):
            secure.sendall(
                f"GET {path} HTTP/1.1\r\nHost: {host or name}\r\nConnection: close\r\n{headers}\r\n".encode()
            )
            seen = ""
            try:
                peer, _ = self.upstream.accept()
                with peer:
                    peer.settimeout(5)
                    seen = peer.recv(4096).decode()
                    peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
            except TimeoutError:
                pass
            answer = b""
            while chunk := secure.recv(4096):
                answer += chunk
        head = answer.decode().split("\r\n\r\n")[0]
        return int(head.split(" ")[1]), head, seen


@pytest.fixture
def central(rendered: dict[str, Path], tmp_path: Path) -> Iterator[Running]:
    nginx = Running(rendered["central"] / "hub/pixelstream.conf", tmp_path / "central")
    yield nginx
    nginx.close()


@needs_nginx
def test_requests_reach_the_coordinator_with_the_true_address(central: Running) -> None:
    status, head, seen = central.ask(
        "/api/v1/titles?x=1", headers="X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Proto: http\r\n"
    )
    assert status == 200
    assert seen.startswith("GET /api/v1/titles?x=1 HTTP/1.1")
    assert "X-Forwarded-For: 127.0.0.1\r\n" in seen, "what a visitor claims is not believed"
    assert "X-Forwarded-Proto: https" in seen
    assert "Host: play.test" in seen
    assert "Strict-Transport-Security: max-age=31536000" in head
    assert "nginx/" not in head, "no version for attackers"


@needs_nginx
def test_a_relay_is_reached_by_host_and_port_of_the_inventory_only(central: Running) -> None:
    status, _, seen = central.ask(
        "/hosts/gpu1/8900/player?token=SECRET-TOKEN", headers="Upgrade: websocket\r\nConnection: Upgrade\r\n"
    )
    assert status == 200
    assert seen.startswith("GET /player?token=SECRET-TOKEN HTTP/1.1")
    assert "Upgrade: websocket" in seen
    for path in (
        "/hosts/gpu1/8899/player",
        "/hosts/gpu1/9000/player",
        "/hosts/gpu1/22/player",
        "/hosts/hub/8900/player",
        "/hosts/127.0.0.1/8900/player",
        "/hosts/gpu1/8900/private/status",
        "/hosts/gpu1/8900/player/../../x",
        "/hosts/gpu1:8900/8900/player",
        "/hosts/",
        "/metrics",
    ):
        status, _, seen = central.ask(path)
        assert (status, seen) == (404, "") or (path.endswith("/x") and status == 404), path


@needs_nginx
def test_secrets_stay_out_of_the_log(central: Running) -> None:
    central.ask("/hosts/gpu1/8900/player?token=SECRET-TOKEN")
    central.ask("/join/SECRET-INVITE?name=x")
    central.ask("/api/v1/invites/SECRET-INVITE")
    central.ask("/api/v1/me?token=SECRET-QUERY")
    deadline = time.monotonic() + 5
    log = ""
    while log.count("\n") < 4 and time.monotonic() < deadline:
        log = (central.home / "pixelstream.log").read_text()
    assert log.count("\n") == 4
    everything = "".join(path.read_text() for path in central.home.glob("*.log"))
    assert "SECRET" not in everything
    assert "/join/-" in log
    assert "/api/v1/invites/-" in log


@needs_nginx
def test_metrics_are_for_neighbours_who_ask_by_address(central: Running) -> None:
    status, _, seen = central.ask("/metrics/2", host="10.0.0.1")
    assert status == 200
    assert seen.startswith("GET /metrics HTTP/1.1")
    assert "GET /metrics HTTP" not in central.ask("/metrics/2")[2], "the site's name leads to no metrics"
    assert central.ask("/api/v1/titles", host="10.0.0.1")[0] == 404, "an address is no way into the site"


@needs_nginx
def test_other_names_get_no_certificate(central: Running) -> None:
    context = ssl._create_unverified_context()
    with socket.create_connection(("127.0.0.1", central.https), timeout=5) as plain, pytest.raises(ssl.SSLError):
        context.wrap_socket(plain, server_hostname="evil.test")


@needs_nginx
def test_old_tls_is_refused(central: Running) -> None:
    context = ssl._create_unverified_context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with (
        socket.create_connection(("127.0.0.1", central.https), timeout=5) as plain,
        context.wrap_socket(plain, server_hostname="play.test") as secure,
    ):
        assert secure.version() == "TLSv1.2"
    site = (central.home / "site.conf").read_text()
    assert set(re.findall(r"ssl_protocols ([^;]+);", site)) == {"TLSv1.2 TLSv1.3"}


@needs_nginx
def test_plain_http_leads_to_the_right_name(central: Running) -> None:
    with socket.create_connection(("127.0.0.1", central.http), timeout=5) as plain:
        plain.sendall(b"GET /session/x HTTP/1.1\r\nHost: evil.test\r\nConnection: close\r\n\r\n")
        answer = plain.recv(4096).decode()
    assert " 301 " in answer.splitlines()[0]
    assert "Location: https://play.test/session/x" in answer


@needs_nginx
def test_direct_edge_reaches_its_own_relays_only(rendered: dict[str, Path], tmp_path: Path) -> None:
    nginx = Running(rendered["direct"] / "edge1/pixelstream.conf", tmp_path / "direct")
    try:
        status, _, seen = nginx.ask("/relay/9003/room", "edge1.test")
        assert status == 200
        assert seen.startswith("GET /room HTTP/1.1")
        for path in (
            "/relay/9004/room",
            "/relay/8750/room",
            "/relay/9003/private/status",
            "/",
            "/hosts/gpu1/8900/player",
        ):
            assert nginx.ask(path, "edge1.test")[0] == 404, path
        status, _, seen = nginx.ask("/control/v1/host", "edge1.test")
        assert seen.startswith("GET /control/v1/host HTTP/1.1"), "the signature covers the path, so it stays as it is"
    finally:
        nginx.close()


@pytest.mark.root
@pytest.mark.skipif(not shutil.which("nft"), reason="nftables is not installed: apt-get install nftables")
def test_nftables_accepts_its_rules(rendered: dict[str, Path]) -> None:
    for layout, path in files(rendered, "firewall.nft"):
        result = subprocess.run(["nft", "--check", "--file", str(path)], capture_output=True, text=True, timeout=20)
        assert result.returncode == 0, f"{layout}: {result.stderr}"
    gpu1 = (rendered["central"] / "gpu1/firewall.nft").read_text()
    assert "udp dport 8900-8999 accept" in gpu1
    assert "ip saddr { 10.0.0.1 } tcp dport { 8750, 8900-8999 } accept" in gpu1
    assert "443" not in gpu1, "in central mode nobody reaches a streaming host by HTTPS"
    several = (rendered["several"] / "hub-a/firewall.nft").read_text()
    assert "ip saddr { 192.0.2.0/24 } tcp dport 22 accept" in several
    assert "ip6 saddr { 2001:db8::/32 } tcp dport 22 accept" in several
    assert "tcp dport 9100 accept" in several
    assert "27017" in several


def test_ufw_gets_the_same_rules(rendered: dict[str, Path]) -> None:
    def rules(place: str) -> set[tuple[str, str, str]]:
        listed = json.loads((rendered[place.split("/")[0]] / place.split("/")[1] / "ufw-rules.json").read_text())
        return {(rule["protocol"], str(rule["ports"]), rule.get("source", "any")) for rule in listed}

    assert rules("central/gpu1") == {
        ("tcp", "22", "any"),
        ("udp", "8900-8999", "any"),
        ("tcp", "8750", "10.0.0.1"),
        ("tcp", "8900-8999", "10.0.0.1"),
    }
    several = rules("several/hub-a")
    assert {("tcp", "22", "192.0.2.0/24"), ("tcp", "8443", "any"), ("tcp", "27017", "10.0.1.2")} <= several
    assert ("tcp", "22", "any") not in several


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not installed")
def test_systemd_accepts_the_units(rendered: dict[str, Path], tmp_path: Path) -> None:
    for layout, path in [item for kind in ("*.service",) for item in files(rendered, kind)]:
        place = tmp_path / layout
        place.mkdir(parents=True, exist_ok=True)
        name = path.name.replace("@.", "@1.")
        # Programs of a deployed machine are not here; what is checked is every directive's name and value.
        text = re.sub(r"^(Exec\w+=)\S+", r"\1/bin/true", path.read_text(), flags=re.MULTILINE)
        text = re.sub(r"^(User|Group)=.*$", r"\1=root", text, flags=re.MULTILINE)
        (place / name).write_text(text)
        result = subprocess.run(
            ["systemd-analyze", "verify", "--man=no", str(place / name)], capture_output=True, text=True, timeout=30
        )
        complaints = [line for line in result.stderr.splitlines() if name in line]
        assert not complaints, complaints


def test_mongod_configuration(rendered: dict[str, Path]) -> None:
    config = yaml.safe_load((rendered["several"] / "hub-a/mongod.conf").read_text())
    assert config["security"] == {"authorization": "enabled", "keyFile": "/etc/mongod.key"}
    assert config["replication"] == {"replSetName": "pixelstream"}
    assert config["net"]["tls"]["mode"] == "requireTLS"
    assert config["net"]["bindIp"] == "127.0.0.1,10.0.1.1"
    assert config["storage"]["wiredTiger"]["engineConfig"]["cacheSizeGB"] == 2.0
    script = (rendered["several"] / "hub-a/users.js").read_text()
    assert '["10.0.1.1:27017", "10.0.1.2:27017"]' in script
    if node := shutil.which("node"):
        subprocess.run([node, "--check", str(rendered["several"] / "hub-a/users.js")], check=True, timeout=20)


def test_turn_reaches_streaming_hosts_only(rendered: dict[str, Path]) -> None:
    text = (rendered["several"] / "hub-a/turnserver.conf").read_text()
    assert "use-auth-secret" in text
    assert "external-ip=198.51.100.7/10.0.1.1" in text
    assert "denied-peer-ip=0.0.0.0-255.255.255.255" in text
    assert set(re.findall(r"^allowed-peer-ip=(.*)$", text, re.MULTILINE)) == {"198.51.100.11", "10.0.0.11"}


def test_shell_scripts_parse(rendered: dict[str, Path]) -> None:
    for _, path in files(rendered, "deploy-hook.sh"):
        subprocess.run(["sh", "-n", str(path)], check=True, timeout=10)


def promtool(home: Path) -> str | None:
    """Return Prometheus' own checker: installed, or out of the lab's package repository."""
    if found := shutil.which("promtool"):
        return found
    for package in (PROJECT / ".cache/lab").glob("packages-*/prometheus_*.deb"):
        subprocess.run(["dpkg-deb", "-x", str(package), str(home / "prometheus")], check=True, timeout=60)
        return str(home / "prometheus/usr/bin/promtool")
    return None


def test_prometheus_configuration(rendered: dict[str, Path], tmp_path: Path) -> None:
    config = yaml.safe_load((rendered["several"] / "hub-a/prometheus.yml").read_text())
    jobs = {job["job_name"]: job for job in config["scrape_configs"]}
    assert set(jobs) >= {"coordinator-hub-a-1", "coordinator-hub-a-2", "coordinator-hub-b-1", "coordinator-hub-b-2"}
    assert jobs["coordinator-hub-b-2"]["metrics_path"] == "/metrics/2"
    assert jobs["coordinator-hub-b-2"]["static_configs"][0]["targets"] == ["10.0.1.2:8443"]
    if checker := promtool(tmp_path):
        place = rendered["several"] / "hub-a"
        subprocess.run([checker, "check", "rules", str(place / "pixelstream-alerts.yml")], check=True, timeout=20)
        subprocess.run(
            [checker, "check", "config", "--syntax-only", str(place / "prometheus.yml")], check=True, timeout=20
        )


def test_no_template_was_forgotten(rendered: dict[str, Path]) -> None:
    wanted = {path.name.removesuffix(".j2") for path in (PROJECT / "roles").glob("*/templates/*.j2")}
    for layout, top in rendered.items():
        for host in top.iterdir():
            assert {path.name for path in host.iterdir()} == wanted | {"ufw-rules.json"}, f"{layout}/{host.name}"
            for path in host.iterdir():
                if path.suffix == ".json":
                    json.loads(path.read_text())
