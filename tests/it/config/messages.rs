//! Broken prepared messages: whatever would go wrong when one is sent is a fault when it is read.

use std::fmt::Write as _;
use std::path::Path;

use super::{Place, SOUND};

const CASES: &[(&str, &str, &str)] = &[
    ("unknown key", "version = 1", "version = 1\nverson = 2"),
    ("no version", "version = 1\n", ""),
    (
        "category that CAP does not know",
        "category = \"Health\"",
        "category = \"Helth\"",
    ),
    (
        "severity in lower case",
        "severity = \"Severe\"",
        "severity = \"severe\"",
    ),
    (
        "urgency in Swedish",
        "urgency = \"Immediate\"",
        "urgency = \"Genast\"",
    ),
    ("valid for ever", "valid_for = \"72h\"", "valid_for = \"10years\""),
    (
        "page as an address",
        "page = \"/kris/dricksvatten\"",
        "page = \"https://evil.example/x\"",
    ),
    (
        "page on another host",
        "page = \"/kris/dricksvatten\"",
        "page = \"//evil.example/x\"",
    ),
    (
        "to an unknown group",
        "to = [\"alla\"]",
        "to = [\"alla\", \"pres\"]",
    ),
    ("to nobody", "to = [\"alla\"]", "to = []"),
    ("field with a bad name", "name = \"omrade\"", "name = \"område\""),
    ("field twice", "name = \"info\"", "name = \"omrade\""),
    ("field named like a keyword", "name = \"info\"", "name = \"if\""),
    (
        "label without Swedish",
        "label = { sv = \"Område\", en = \"Area\" }",
        "label = { en = \"Area\" }",
    ),
    (
        "label in another language",
        "label = { sv = \"Område\", en = \"Area\" }",
        "label = { sv = \"Område\", en = \"Area\", fi = \"Alue\" }",
    ),
    (
        "example too long",
        "example = \"Forserum\"",
        "example = \"Forserum med omnejd, Barkeryd och Äng\"",
    ),
    (
        "example for each language without need",
        "example = \"Forserum\"",
        "example = { sv = \"a\", en = \"b\" }",
    ),
    (
        "one example for all languages",
        "example = { sv = \"En tankbil med rent vatten står vid skolan. Ta med egna dunkar.\", en = \"A tanker with clean water is at the school. Bring your own containers.\" }",
        "example = \"Hej\"",
    ),
    ("length of nothing", "max_length = 30", "max_length = 0"),
    ("no length", "max_length = 30\n", ""),
    (
        "default of a required field",
        "max_length = 30",
        "max_length = 30\ndefault = \"Nässjö\"",
    ),
    (
        "choices without the example",
        "max_length = 30",
        "max_length = 30\nchoices = [\"Nässjö\", \"Nässjö\"]",
    ),
    ("unknown kind", "kinds = [\"update\"]", "kinds = [\"updates\"]"),
    ("no kind", "kinds = [\"update\"]", "kinds = []"),
    ("no Swedish update", "[sv.update]", "[sv.updat]"),
    ("unknown language", "[en.all-clear]", "[fi.all-clear]"),
    (
        "unknown field in a text",
        "headline = \"Koka dricksvattnet i {{ omrade }}\"",
        "headline = \"Koka dricksvattnet i {{ omraade }}\"",
    ),
    (
        "field of another kind",
        "headline = \"Koka dricksvattnet i {{ omrade }}\"",
        "headline = \"Koka dricksvattnet i {{ omrade }}: {{ ratt }}\"",
    ),
    (
        "template without end",
        "headline = \"Koka dricksvattnet i {{ omrade }}\"",
        "headline = \"Koka dricksvattnet i {{ omrade }\"",
    ),
    (
        "unknown filter",
        "headline = \"Koka dricksvattnet i {{ omrade }}\"",
        "headline = \"Koka dricksvattnet i {{ omrade | versaler }}\"",
    ),
    (
        "loop without end",
        "headline = \"Koka dricksvattnet i {{ omrade }}\"",
        "headline = \"{% for n in range(99999) %}{% for m in range(99999) %}{{ omrade }}{% endfor %}{% endfor %}\"",
    ),
    (
        "includes a file",
        "headline = \"Koka dricksvattnet i {{ omrade }}\"",
        "headline = \"{% include '/etc/passwd' %}{{ omrade }}\"",
    ),
    (
        "empty text",
        "headline = \"Koka dricksvattnet i {{ omrade }}\"",
        "headline = \"\"",
    ),
    (
        "headline of two lines",
        "headline = \"Koka dricksvattnet i {{ omrade }}\"",
        "headline = \"Koka\\ndricksvattnet i {{ omrade }}\"",
    ),
    (
        "template fault in a long text",
        "{% if nasta_besked %}Vi lämnar",
        "{% of nasta_besked %}Vi lämnar",
    ),
    (
        "field asked for and never used",
        "[sv.initial]",
        "[[field]]\nname = \"extra\"\nlabel = { sv = \"Extra\", en = \"Extra\" }\nhelp = \"Mer\"\nexample = \"x\"\nmax_length = 5\nrequired = false\nkinds = [\"initial\"]\n\n[sv.initial]",
    ),
];

fn sound() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("templates/messages/koka-vattnet.toml");
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn each_broken_message_says_where_it_is_wrong_and_what_to_do() {
    let sound = sound();
    let mut all = String::new();
    for (what, from, to) in CASES {
        assert!(sound.contains(from), "{what}: the case does not fit the base");
        let place = Place::with(SOUND);
        place.message("eget.toml", &sound.replacen(from, to, 1));
        let faults = place.faults();
        assert_ne!(faults, "(no fault)", "{what}");
        writeln!(all, "# {what}\n{faults}\n").unwrap();
    }
    insta::assert_snapshot!(all);
}

#[test]
fn files_that_are_too_large_or_too_many_are_refused() {
    let place = Place::with(SOUND);
    place.message("stor.toml", &"#".repeat(256 * 1024 + 1));
    for n in 0..500 {
        place.message(&format!("m{n}.toml"), "");
    }
    let faults = place.faults();
    assert!(
        faults
            .contains("templates/messages:1:1: daemon.messages: holds 501 messages; at most 500 are allowed")
    );
    assert!(faults.contains("templates/messages/m0.toml:1:1: title: is missing"));
    let place = Place::with(SOUND);
    place.message("stor.toml", &"#".repeat(256 * 1024 + 1));
    assert_eq!(
        place.faults(),
        "templates/messages/stor.toml:1:1: is larger than 256 KiB"
    );
}
