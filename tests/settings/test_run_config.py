"""A setting is obeyed or refused, in one line that names file, key, value and remedy."""

from pathlib import Path

import pytest

from swarmeval.errors import ConfigError
from swarmeval.settings.loading import from_flags, load, parse_set, validate
from swarmeval.settings.run_config import JUDGED_BY, RunConfig
from swarmeval.settings.sandbox import SandboxSettings
from swarmeval.settings.section import is_resumable, keys

REFUSED = {
    "batch_sze=3": "unknown key 'batch_sze'; did you mean 'batch_size'?",
    "endpoint.timout_s=3": "unknown key 'endpoint.timout_s'; did you mean 'endpoint.timeout_s'?",
    "num_tasks=3": "unknown key 'num_tasks'; did you mean 'humaneval_limit'?",
    "project=me": "unknown key 'project'; did you mean 'wandb.project' or 'trackio.project'?",
    "endpoints_timeout_s=3": "unknown key 'endpoints_timeout_s'; did you mean 'endpoint.timeout_s'?",
    "wandb.zzz=3": "unknown key 'wandb.zzz'; docs/settings.md lists the keys",
    "agents.name=a": "unknown key 'agents.name'; did you mean 'agents'?",
    "wandb=offline": "wandb is now wandb.mode; in a file, write wandb: {mode: ...}",
    "sandbox=strict": "sandbox is now sandbox.mode; in a file, write sandbox: {mode: ...}",
    "endpoint=3": "endpoint is a section; set its keys, for example endpoint.urls",
    "ray=": "ray is a section; set its keys, for example ray.address",
    "zzz=3": "unknown key 'zzz'; docs/settings.md lists the keys",
    "batch_size=a": "batch_size is 'a'; it should be a valid integer",
    "batch_size=2.0": "batch_size is 2.0; it should be a valid integer",
    "batch_size=true": "batch_size is True; it should be a valid integer",
    "batch_size=0": "batch_size is 0; it should be greater than or equal to 1",
    "temperature=0": "temperature is 0; it should be greater than 0 (for greedy decoding set do_sample: false)",
    "temperature=.nan": "temperature is nan; it should be less than or equal to 10 "
    "(for greedy decoding set do_sample: false)",
    "top_p=1.5": "top_p is 1.5; it should be less than or equal to 1",
    "logit_bias={-1: 5}": "logit_bias has the key -1; it should be greater than or equal to 0",
    "chat_template_kwargs={5: 1}": "chat_template_kwargs has the key 5; it should be a valid string",
    "load_in_4bit=yes": "load_in_4bit is 'yes'; it should be a valid boolean",
    "load_in_4bit=1": "load_in_4bit is 1; it should be a valid boolean",
    "device=gpu": "device is 'gpu'; it should be 'cuda' or 'cpu'",
    "wandb.mode=on": "wandb.mode is 'on'; it should be 'off', 'offline' or 'online'",
    "workers.max_in_flight=0": "workers.max_in_flight is 0; it should be 'auto' or greater than or equal to 1",
    "replica.rows=many": "replica.rows is 'many'; it should be 'auto' or a valid integer",
    "stop=none": "stop is 'none'; it should be 'auto' or a list",
    'stop=[""]': "stop.0 is ''; it should have at least 1 character",
    "stop=[a, 3]": "stop.1 is 3; it should be a valid string",
    "output_dir=": "output_dir is None; it should be a valid string",
    "num_beams=4": "beam search needs do_sample: false; set that, or num_beams: 1",
    "replica.weight_cache=bnb": "replica.weight_cache is 'bnb'; it should be 'auto', 'on' or 'off'",
    "replica.cpu_kernel=bnb": "replica.cpu_kernel is now replica.weight_cache; in a file, write "
    "replica: {weight_cache: ...}, with auto for cached, off for bnb",
    "agents=[]": "agents is empty; list at least one agent or use num_agents",
    "agents=[{temp: 1}]": "unknown key 'agents.0.temp'; did you mean 'temperature'?",
    "agents=[{temperature: -1}]": "agents.0.temperature is -1; it should be greater than 0 "
    "(for greedy decoding set do_sample: false)",
    "seed=-1": "seed is -1; it should be greater than or equal to 0",
    "seed=010": "seed is '010'; it should be a valid integer",
}

ENDPOINT = ["fleet=endpoint", "endpoint.urls=[http://a/v1]"]
PLAIN = ["endpoint.dialect=plain", "repetition_penalty=1.0"]
REFUSED_OF_ENDPOINTS = [
    (
        ["fleet=endpoint"],
        "fleet is 'endpoint' but endpoint.urls is empty; set it, for example to [http://host:8000/v1]",
    ),
    (ENDPOINT[1:], "endpoint.urls is set but fleet is 'local'; set fleet: endpoint or remove endpoint.urls"),
    (
        ["endpoint.timeout_s=3"],
        "endpoint.timeout_s is set but fleet is 'local'; set fleet: endpoint or remove endpoint.timeout_s",
    ),
    (
        ["fleet=endpoint", "endpoint.urls=[host/v1]"],
        "endpoint.urls: 'host/v1' is not a base URL; write it as http://host:8000/v1",
    ),
    (
        ["fleet=endpoint", "endpoint.urls=[http://a/v1, http://a/v1/]"],
        "endpoint.urls lists a URL twice; to send it more requests at once, raise endpoint.concurrency",
    ),
    (
        [*ENDPOINT, "engine=scripted"],
        "engine is 'scripted' but with fleet: endpoint the servers generate; remove engine",
    ),
    (
        [*ENDPOINT, "replica.rows=4"],
        "replica.rows applies to local replicas only, but fleet is 'endpoint'; set endpoint.concurrency",
    ),
    (
        [*ENDPOINT, "do_sample=false", "num_beams=2"],
        "fleet: endpoint does not support beam search; set num_beams: 1",
    ),
    ([*ENDPOINT, *PLAIN], "endpoint.dialect: plain has no field for top_k; set top_k: 0"),
    (
        [*ENDPOINT, *PLAIN, "top_k=0", "agents=[{top_k: 3}]"],
        "endpoint.dialect: plain has no field for top_k; set top_k: 0",
    ),
    (
        [*ENDPOINT, "endpoint.dialect=openai", "top_k=0"],
        "endpoint.dialect: openai has no field for repetition_penalty; set repetition_penalty: 1.0",
    ),
    ([*ENDPOINT, "endpoint.body={n: 2}"], "endpoint.body.n cannot be set: Swarmeval sets it; remove it"),
    (
        [*ENDPOINT, "endpoint.body={max_tokens: 2}"],
        "endpoint.body.max_tokens: set max_new_tokens instead, or use null to remove the field",
    ),
    ([*ENDPOINT, "endpoint.body={x: .nan}"], "endpoint.body contains a value that JSON cannot represent; remove it"),
]


@pytest.mark.parametrize(("words", "message"), REFUSED_OF_ENDPOINTS)
def test_what_servers_cannot_be_asked_is_refused_in_one_line(words: list[str], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        validate(parse_set(words), "x.yaml")
    assert str(caught.value) == f"x.yaml: {message}"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["engine=scripted"], "engine is set but fleet is 'vllm', which does not use it; remove engine"),
        (["device=cpu", "replica.native_kernels=off"],
         "replica.native_kernels is set but fleet is 'vllm', which does not use it; remove replica.native_kernels"),
        (["num_beams=2", "do_sample=false"], "fleet: vllm does not support beam search; set num_beams: 1"),
        (["adapters={code: lora}"], "fleet: vllm does not load adapters; use fleet: local, or start a server with "
         "`vllm serve --enable-lora --lora-modules NAME=FOLDER` and use fleet: endpoint"),
        (["agents=[{temperature: 0.001}]"], "temperature is below 0.01, and vLLM would raise it to 0.01; "
         "set a higher temperature, or do_sample: false"),
    ],
)  # fmt: skip
def test_what_vllm_cannot_be_asked_is_refused_in_one_line(words: list[str], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        validate(parse_set(["fleet=vllm", *words]), "x.yaml")
    assert str(caught.value) == f"x.yaml: {message}"


@pytest.mark.parametrize("words", [[], ["device=cpu"], ENDPOINT, ["fleet=vllm"], ["fleet=ray"]])
@pytest.mark.parametrize("engine", ["auto", "hf"])
def test_both_names_of_the_built_in_engine_are_its_default(words: list[str], engine: str) -> None:
    named = validate(parse_set([*words, f"engine={engine}"]), "-")
    assert named == validate(parse_set(words), "-")
    assert named.measured()["engine"] == "hf"


@pytest.mark.parametrize(
    "words",
    [
        ["endpoint.urls=[http://me:s3cret@a/v1]"],
        ["endpoint.urls=http://me:s3cret@a/v1"],
        ["endpoint.urls=[3, 'http://s3cret@a']"],
        ["endpoint.urls=['http://a/v1?key=s3cret']"],
        ["endpoint.key_env=sk-s3cret"],
        ["endpoint.key_env=gsk_s3cret"],
    ],
)
def test_what_may_be_a_secret_is_refused_and_not_shown(words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        validate(parse_set(words), "x.yaml")
    assert "s3cret" not in str(caught.value)
    assert "endpoint" in str(caught.value)


def test_what_servers_decide_by_themselves_is_said() -> None:
    config = validate(parse_set([*ENDPOINT, "load_in_4bit=true", "endpoint.body={temperature: null, extra: 1}"]), "-")
    assert config.warnings() == ["Ignored for servers: load_in_4bit, temperature"]


@pytest.mark.parametrize("cache", ["on", "off"])
def test_a_cache_of_unpacked_weights_needs_packed_ones(cache: str) -> None:
    for device in ("cpu", "cuda"):
        assert validate(parse_set([f"device={device}", f"replica.weight_cache={cache}"]), "-").load_in_4bit
    with pytest.raises(ConfigError) as caught:
        validate(parse_set(["load_in_4bit=false", f"replica.weight_cache={cache}"]), "x.yaml")
    assert str(caught.value) == (
        f"x.yaml: replica.weight_cache: {cache} needs quantized weights; set load_in_4bit: true or weights: int8, "
        "or remove it"
    )


def test_cuda_graphs_on_a_cpu_are_refused_where_they_are_asked_for() -> None:
    with pytest.raises(ConfigError) as caught:
        validate(parse_set(["device=cpu", "replica.cuda_graphs=auto"]), "x.yaml")
    assert (
        str(caught.value)
        == "x.yaml: replica.cuda_graphs is set but device is 'cpu'; set device: cuda or remove replica.cuda_graphs"
    )


@pytest.mark.parametrize(("word", "message"), REFUSED.items())
def test_what_cannot_be_obeyed_is_refused_in_one_line(word: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        validate(parse_set([word]), "x.yaml")
    assert str(caught.value) == f"x.yaml: {message}"


def test_values_reach_their_keys_with_their_yaml_types() -> None:
    words = [
        "wandb.mode=off",
        "temperature=1e-3",
        "top_p=1",
        "wandb.tags=[a, b]",
        "workers.max_in_flight=3",
        "do_sample=false",
    ]
    config = validate(parse_set([*words, "agents=[{name: a, samples: 2}]"]), "--set")
    assert (config.wandb.mode, config.temperature, config.top_p, config.wandb.tags) == ("off", 0.001, 1.0, ("a", "b"))
    assert (config.workers.max_in_flight, config.do_sample) == (3, False)
    assert config.agents is not None
    assert config.agents[0].samples == 2


@pytest.mark.parametrize("value", ["[" * 3000, "1" * 5000])
def test_a_value_no_parser_can_hold_is_refused(value: str) -> None:
    with pytest.raises(ConfigError, match=r"^--set seed: .* cannot be read"):
        parse_set([f"seed={value}"])


def test_a_recursive_file_and_a_key_set_twice_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("agents: &x [*x]\n")
    with pytest.raises(ConfigError, match=r"cannot be read"):
        load(path)
    with pytest.raises(ConfigError, match=r"^--set seed: given twice; keep one of them$"):
        parse_set(["seed=1", "seed=2"])


@pytest.mark.parametrize("word", ["batch_size", "=3", "key=[a", "a=b: c: d"])
def test_a_malformed_set_is_refused(word: str) -> None:
    with pytest.raises(ConfigError, match=r"^--set"):
        validate(parse_set([word]), "--set")


BAD_FILES = {
    "? [1, 2]\n: 3\n": "YAML syntax error at line 1, column 3: a key must be a word",
    "{a: b}: c\n": "YAML syntax error at line 1, column 1: a key must be a word",
    'agents: [{name: "\\ud800"}]\n': "contains a lone surrogate, which is not valid text; remove it",
    "output_dir: ~/runs\n": "output_dir is '~/runs', and ~ is not expanded; write the full path",
    "num_agents: 1000000\nnum_samples: 1000000\n": "this run has 164,000,000,000,000 jobs, the limit is 1,000,000,000; "
    "reduce agents, samples or tasks",
    "wandb: {tags: a}\n": "wandb.tags is 'a'; it should be a list",
    "num_agents: 3\n  batch_size: [1\n": "YAML syntax error at line 2, column 13: mapping values are not allowed here",
    "seed: 1\nseed: 2\n": "YAML syntax error at line 2, column 1: seed is set twice",
    "- a\n- b\n": "must contain key: value lines, found list",
    "just words\n": "must contain key: value lines, found str",
    "batch_size: !!python/object/apply:os.system [id]\n": "YAML syntax error at line 1, column 13: "
    "could not determine a constructor for the tag 'tag:yaml.org,2002:python/object/apply:os.system'",
    "num_agents: 2\nagents: [{name: a}]\n": "agents and num_agents are both set; keep one of them",
}


@pytest.mark.parametrize(("text", "message"), BAD_FILES.items())
def test_a_file_that_cannot_be_read_as_settings_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert str(caught.value) == f"{path}: {message}"


def test_a_missing_folder_or_binary_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "b.yaml").write_bytes(b"\xff\xfe")
    for path, message in [
        (tmp_path / "no.yaml", "no such file; give an existing file with --config"),
        (tmp_path, "cannot be read (Is a directory)"),
        (tmp_path / "b.yaml", "not UTF-8 text (byte 0); save it as UTF-8"),
    ]:
        with pytest.raises(ConfigError) as caught:
            load(path)
        assert str(caught.value) == f"{path}: {message}"


def test_an_empty_file_gives_the_documented_defaults(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("# nothing\n")
    config = load(path)
    assert config == RunConfig()
    documented = (config.num_agents, config.humaneval_limit, config.batch_size, config.max_new_tokens)
    assert documented == (1, 164, 8, 512)


def test_a_refused_override_is_laid_at_the_command_lines_door(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("batch_size: 4\n")
    with pytest.raises(ConfigError, match=r"^command line: unknown key 'num_agent'; did you mean 'num_agents'\?$"):
        load(path, {"num_agent": 3})


def test_num_agents_on_the_command_line_replaces_agents_and_vice_versa(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("agents: [{name: a}, {name: b}]\n")
    assert load(path, {"num_agents": 5}).agents is None
    path.write_text("num_agents: 5\n")
    assert load(path, parse_set(["agents=[{name: a}]"])).num_agents == 1


def test_a_flag_and_a_set_of_the_same_key_are_refused_together() -> None:
    names = {"num_tasks": "humaneval_limit"}
    assert from_flags({"num_tasks": 3, "set": ["seed=1"]}, names) == {"humaneval_limit": 3, "seed": 1}
    with pytest.raises(ConfigError, match=r"^--set humaneval_limit and --num_tasks are both given; keep one of them$"):
        from_flags({"num_tasks": 3, "set": ["humaneval_limit=4"]}, names)


def test_greedy_decoding_with_several_answers_is_warned_of() -> None:
    assert RunConfig(do_sample=False).warnings() == []
    expected = ["do_sample is false: greedy decoding gives all agents and samples the same answer"]
    assert RunConfig(do_sample=False, num_agents=2).warnings() == expected
    assert RunConfig(do_sample=False, num_samples=2).warnings() == expected


@pytest.mark.parametrize(
    ("settings", "is_on_cpu"),
    [
        ({"device": "cpu"}, True),
        ({"device": "cpu", "fleet": "ray"}, True),
        ({"device": "cuda"}, False),
        ({"fleet": "endpoint", "endpoint": {"urls": ("http://localhost:1/v1",)}}, False),
    ],
)
def test_judges_share_the_cores_with_local_replicas_on_the_cpu(settings: dict[str, object], is_on_cpu: bool) -> None:
    assert RunConfig.model_validate(settings).computes_on_cpu() is is_on_cpu


def test_a_resume_may_differ_only_in_keys_that_change_no_measurement() -> None:
    measured = RunConfig().measured()
    assert set(measured) == {key for key, field in keys(RunConfig).items() if not is_resumable(field)}
    assert set(measured) >= {*JUDGED_BY, "seed", "temperature", "model_id"}
    assert RunConfig(sandbox=SandboxSettings(mode="none")).measured() != measured
    assert RunConfig(eval_workers=2, verbose=True, output_dir="x").measured() == RunConfig().measured()
    assert RunConfig(temperature=0.5).measured() != RunConfig().measured()
