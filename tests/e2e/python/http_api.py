"""Holds a running world to its OpenAPI document: each operation is asked for each answer that it documents, and every status,
media type, header and body that comes must be as the document has it. And runs the examples with curl of docs/protocol.md.

    python http_api.py --http http://127.0.0.1:8080 --token TOKEN --reader TOKEN

TOKEN may write everything; the reader may read canvases only. Both must be of the world of `driftless dev`.
"""
import argparse, base64, json, os, re, subprocess, time
import jsonschema_rs, requests
from protocol import DOCUMENT, wire, model

arguments = argparse.ArgumentParser()
for name in ("--http", "--token", "--reader"):
    arguments.add_argument(name, required=True)
arguments = arguments.parse_args()
http, results = arguments.http, []


def check(what, is_true, seen=""):
    results.append(bool(is_true))
    print("ok    " if is_true else "FAILED", what, "" if is_true else seen)


# Answers that a healthy world does not give on request, so they are not tested here.
UNPROVOKED = {"408", "429", "503", "504"}
document = requests.get(f"{http}/v1/openapi.json").json()
components = {"components": document["components"]}
met = set()


def is_valid(schema, value):
    return jsonschema_rs.validator_for({**schema, **components}).is_valid(value)


def ask(method, template, status, *, chunk="canvas/0/0", token=arguments.token, more={}, headers={}, query="", **body):
    """Sends a request and compares the answer with the document. Returns the answer."""
    path = template
    for name, value in {"chunk": chunk, **more}.items():
        path = path.replace("{" + name + "}", str(value))
    given = {"Authorization": f"Bearer {token}"} if token else {}
    answer = requests.request(method, http + path + query, headers={**given, **headers}, stream=True, timeout=20, **body)
    kind = answer.headers.get("content-type", "").split(";")[0]
    content = b"" if kind == "text/event-stream" else answer.content
    answer.close()
    found = str(answer.status_code)
    documented = document["paths"][template][method.lower()]["responses"].get(found)
    problems = [] if found == str(status) else [f"status {found}, not {status}"]
    if documented is None:
        problems.append("the document has no such answer")
    else:
        met.add((method, template, found))
        forms = documented.get("content", {})
        form = next((forms[name] for name in forms if name.split(";")[0] == kind), None)
        if bool(forms) != bool(kind) or (forms and form is None):
            problems.append(f"content type {kind!r}, not one of {list(forms)}")
        if form and kind.endswith("json") and not is_valid(form["schema"], json.loads(content)):
            problems.append("the body is not as its schema has it")
        if kind == "application/problem+json" and json.loads(content)["status"] != answer.status_code:
            problems.append("the problem has another status")
        for name, header in documented.get("headers", {}).items():
            value = answer.headers.get(name)
            if value is None or not (is_valid(header["schema"], value) or header["schema"].get("type") == "integer"):
                problems.append(f"header {name}: {value!r}")
    check(f"{method} {path}{query.split('token=')[0]} is answered with {status}", not problems, f"{problems} {content[:300]}")
    answer.bytes = content
    return answer


def everything():
    check("it is an OpenAPI 3.1 document", document["openapi"].startswith("3.1."))
    for name, schema in document["components"]["schemas"].items():
        try:
            jsonschema_rs.Draft202012Validator({**schema, **components})
            check(f"the schema {name} is one", True)
        except Exception as error:
            check(f"the schema {name} is one", False, error)
    told = set(re.findall(r"^\| `(?:GET|POST) (/[^`?]+)", DOCUMENT.read_text().split("## 14. HTTP")[1], re.M))
    check("docs/protocol.md tells paths", len(told) >= 8, told)
    named = {path.replace("{chunk}", "{id}") for path in document["paths"]}
    check("and each is in the document", told <= named, told - named)

    for path in ("/healthz", "/readyz", "/metrics", "/v1/openapi.json", "/v1/world"):
        ask("GET", path, 200, token=None)
    ask("GET", "/v1/partitions", 200)
    ask("GET", "/v1/partitions", 401, token=None)
    ask("GET", "/v1/partitions", 403, token=arguments.reader)
    sockets()
    commands()
    content()
    events()
    wanted = {
        (method.upper(), path, status)
        for path, item in document["paths"].items()
        for method, operation in item.items()
        for status in operation["responses"]
    }
    missed = {one for one in wanted - met if one[2] not in UNPROVOKED}
    check("every documented answer was met", not missed, sorted(missed))
    for path, item in document["paths"].items():
        path = re.sub(r"\{[^}]*\}", lambda name: "canvas/0/0" if name[0] == "{chunk}" else "1", path)
        answer = requests.request("DELETE", http + path)
        allowed = ", ".join(sorted({*map(str.upper, item), *(["HEAD"] if "get" in item else [])}))
        found = ", ".join(sorted(answer.headers.get("allow", "").split(", ")))
        check(f"DELETE {path} is refused with what is allowed", (answer.status_code, found) == (405, allowed), found)


def sockets():
    for service in ("ingest", "gateway"):
        path = f"/v1/{service}"
        key = base64.b64encode(bytes(16)).decode()
        upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": key}
        ask("GET", path, 426, token=None)
        ask("GET", path, 400, token=None, headers=upgrade)
        ask("GET", path, 101, token=None, headers={**upgrade, "Sec-WebSocket-Protocol": f"driftless.{service}.v1"})


def commands():
    sessions, path = "/v1/sessions", "/v1/chunks/{chunk}/commands"
    session = ask("POST", sessions, 201).json()["session"]
    ask("POST", sessions, 201, json={"session_after_ms": 0})
    ask("POST", sessions, 401, token=None)
    ask("POST", sessions, 400, data=b"{")
    ask("POST", sessions, 413, data=bytes(300_000))

    cell = lambda value: {"set": [{"x": 3, "y": 4, "value": value}]}
    item = lambda seq, command: {"session": session, "seq": seq, "after": seq - 1, "command": command}
    submit = lambda seq: wire.Submit(
        seq=seq, after=seq - 1, command=model.GridCommand(set=model.SetCells(cells=[0], values=[7])).SerializeToString()
    )
    protobuf, given = "application/x-protobuf", {"Driftless-Session": session}
    ask("POST", path, 202, json=item(1, cell(7)))
    ask("POST", path, 202, json=[item(2, cell(8)), item(3, {"fill": {"x": 0, "y": 0, "width": 2, "value": 1}})])
    ask("POST", path, 202, headers={**given, "Content-Type": protobuf}, data=submit(4).SerializeToString())
    frame = wire.ClientFrame(requests=[wire.Request(submit=submit(5)), wire.Request(submit=submit(6))])
    several = f"{protobuf}; proto=driftless.v1.ClientFrame"
    ask("POST", path, 202, headers={**given, "Content-Type": several}, data=frame.SerializeToString())
    guarded = {"set": [{"x": 3, "y": 4, "value": 9, "guard": 99}]}
    ask("POST", path, 202, json=item(7, guarded))
    ask("POST", path, 207, json=[item(8, cell(7)), item(8, cell(8)), item(9, "x")])
    ask("POST", path, 202, query=f"?session={session}&token={arguments.token}", token=None, json={"seq": 9, "settle": True})
    ask("POST", path, 400, json={"seq": 9, "settle": True})
    ask("POST", path, 400, chunk="canvas/0/+1", json=item(1, cell(7)))
    ask("POST", path, 401, token="x", json=item(1, cell(7)))
    ask("POST", path, 403, token=arguments.reader, json=item(1, cell(7)))
    ask("POST", path, 404, chunk="town/0/0", json=item(1, cell(7)))
    ask("POST", path, 404, chunk="canvas/0/99999", json=item(1, cell(7)))
    ask("POST", path, 413, data=bytes(300_000))
    ask("POST", path, 415, headers={"Content-Type": "text/plain"}, data=b"{}")
    ask("POST", path, 422, json=item(10, cell(70_000)))

    path = "/v1/chunks/{chunk}/commands/{session}/{seq}"
    status = lambda seq, status=200, session=session, **more: ask(
        "GET", path, status, more={"session": session, "seq": seq}, **more
    )
    until = time.monotonic() + 20
    while status(9).json()["status"] == "unresolved" and time.monotonic() < until:
        time.sleep(0.05)
    found = [status(seq).json() for seq in (1, 7, 9, 10)]
    check("a command that was committed is said to be", found[0] == {"status": "committed", "version": 1, "history": ""}, found)
    check("so is a conflict", found[1]["discarded"]["reason"] == "DISCARD_REASON_CONFLICT", found)
    check("so is what was settled", found[2]["discarded"]["reason"] == "DISCARD_REASON_SETTLED", found)
    check("so is what did not come", found[3] == {"status": "unresolved", "history": ""}, found)
    status("x", 400)
    status(1, 400, session="ff")
    status(1, 401, token=None)
    status(1, 403, token=arguments.reader, chunk="things/0/0")
    status(1, 404, chunk="town/0/0")


def content():
    for extension, kind in (("", "application/json"), (".json", ""), (".bin", "application/octet-stream"), (".png", "image/png")):
        path = "/v1/chunks/{chunk}" + extension
        accept = {} if extension else {"Accept": kind}
        first = ask("GET", path, 200, headers=accept)
        ask("GET", path, 304, headers={**accept, "If-None-Match": first.headers["etag"]})
        ask("GET", path, 400, chunk="canvas/0/+1")
        ask("GET", path, 401, token=None)
        ask("GET", path, 403, token=arguments.reader, chunk="things/0/0")
        ask("GET", path, 404, chunk="town/0/0")
    octets = {"Accept": "application/octet-stream"}
    for path, accept in (("/v1/chunks/{chunk}", octets), ("/v1/chunks/{chunk}.bin", {})):
        whole = ask("GET", path, 200, headers=accept)
        part = {**accept, "Range": "bytes=8-11", "If-Range": whole.headers["etag"]}
        check("a part is one", ask("GET", path, 206, headers=part).bytes == whole.bytes[8:12])
        ask("GET", path, 416, headers={**accept, "Range": "bytes=99999999-"})
    for form in ("application/json", "image/png"):
        ask("GET", "/v1/chunks/{chunk}", 200, headers={"Accept": form})
    ask("GET", "/v1/chunks/{chunk}", 404, chunk="canvas/0/0.gif")
    ask("GET", "/v1/chunks/{chunk}", 406, headers={"Accept": "text/html"})
    ask("GET", "/v1/chunks/{chunk}.png", 406, chunk="things/0/0")


def events():
    one, several = "/v1/chunks/{chunk}/events", "/v1/events"
    ask("GET", one, 200)
    ask("GET", one, 400, query="?session=ff")
    ask("GET", one, 401, token=None)
    ask("GET", one, 403, token=arguments.reader, chunk="things/0/0")
    ask("GET", one, 404, chunk="town/0/0")
    ask("GET", several, 200, query="?chunks=canvas/0/0,things/0/0")
    ask("GET", several, 400)
    ask("GET", several, 401, token=None)

    def curl(name, until, **environment):
        """Runs the document's curl example with this name until it has printed `until`."""
        command = re.search(rf"^```sh {name}\n(.*?)^```", DOCUMENT.read_text(), re.M | re.S).group(1)
        environment = {**os.environ, "HTTP": http, "TOKEN": arguments.token, **environment}
        running = subprocess.Popen(["sh", "-c", "exec " + command], env=environment, stdout=subprocess.PIPE, text=True)
        timer, seen = time.monotonic() + 20, ""
        for line in running.stdout:
            seen += line
            if re.search(until, seen) or time.monotonic() > timer:
                break
        running.kill()
        running.wait()
        check(f"the example `{name}` shows what it should", re.search(until, seen), seen[-2000:])
        return seen

    seen = curl("events", r"event:chunk\nid:.*\n|event:chunk\ndata:.*\nid:.*\n")
    last_id = re.search(r"^id:(\S+)$", seen, re.M).group(1)
    session = requests.post(f"{http}/v1/sessions", headers={"Authorization": f"Bearer {arguments.token}"}).json()["session"]
    command = {"session": session, "seq": 1, "command": {"set": [{"x": 9, "y": 9, "value": 9}]}}
    ask("POST", "/v1/chunks/{chunk}/commands", 202, json=command)
    seen = curl("resume", r"event:updates\n", LAST_ID=last_id)
    check("what is had is not sent again", "event:chunk" not in seen, seen)
    curl("several", r"(?s)event:tracked.*event:tracked")


everything()
print(f"{sum(results)} passed, {len(results) - sum(results)} failed")
raise SystemExit(0 if results and all(results) else 1)
