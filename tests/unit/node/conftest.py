from __future__ import annotations

from pathlib import Path

import pytest

from tests.fakes.node import Node, NodeMaker


@pytest.fixture
def make_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NodeMaker:
    return NodeMaker(tmp_path, monkeypatch)


@pytest.fixture(params=["thin", "thick"])
def node(request: pytest.FixtureRequest, make_node: NodeMaker) -> Node:
    """A node in either mode."""
    return make_node(request.param)


@pytest.fixture
def thin(make_node: NodeMaker) -> Node:
    return make_node("thin")


@pytest.fixture
def thick(make_node: NodeMaker) -> Node:
    return make_node("thick")
