"""The commands of docs/serving.md work as they stand there, but for the port."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from live_server import Process

PAGE = Path(__file__).resolve().parents[2] / "docs" / "serving.md"


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)


def run(command, folder):
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(command, cwd=folder, env={**os.environ, "PATH": path}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_page_runs(tmp_path, monkeypatch):
    fit, serve, ask = blocks("sh")
    monkeypatch.chdir(tmp_path)
    run(["bash", "-euo", "pipefail", "-c", fit], tmp_path)
    words = serve.split()
    assert words[:2] == ["tastemaker", "serve"]
    assert words[3:] == ["--port", "8000"]
    with Process(words[2]) as service:
        answers = run(["bash", "-euo", "pipefail", "-c", ask.replace("http://127.0.0.1:8000", service.url)], tmp_path)
        decoder, found = json.JSONDecoder(), []
        while answers.strip():
            value, end = decoder.raw_decode(answers.strip())
            found.append(value)
            answers = answers.strip()[end:]
        listed, stored, put = found
        assert len(listed["items"]) == 3
        assert all(item["reason"]["text"] for item in listed["items"])
        assert stored["results"] == [{"event_id": "e1", "status": "accepted"}]
        assert put["stored"] == 1
        [code] = blocks("python")
        run([sys.executable, "-c", code.replace("http://127.0.0.1:8000", service.url)], tmp_path)
        assert (tmp_path / "model.db").is_file()
