//! Broken configurations, one fault each, with the exact words that a technician gets. Read the snapshot as one would at
//! three in the morning: does it say what to do?

use std::fmt::Write as _;

use super::{Place, SOUND};

/// Name, what to replace, by what.
const CASES: &[(&str, &str, &str)] = &[
    ("unknown section", "[daemon]", "[deamon]"),
    (
        "section that comes later",
        "[daemon]",
        "[approval]\nrequired = true\n[daemon]",
    ),
    (
        "verification too seldom",
        "[daemon]",
        "[verification]\nevery = \"3days\"\n[daemon]",
    ),
    (
        "days before an end that are none",
        "[daemon]",
        "[verification]\nexpiry_days = [30, 0]\n[daemon]",
    ),
    (
        "a fact whose pattern is none",
        "[daemon]",
        "[[verification.fact]]\nid = \"kontakt\"\ntext = \"hur man når oss\"\npatterns = [\"(nassjo\"]\n[daemon]",
    ),
    (
        "a logo that is no sum",
        "[daemon]",
        "[verification]\nlogos = [\"vapen.png\"]\n[daemon]",
    ),
    (
        "a certificate at no time",
        "[daemon]",
        "[verification]\ncertificate = \"0 25 * * MON\"\ncertificate_to = []\n[daemon]",
    ),
    (
        "reminders to nobody there is",
        "[daemon]",
        "[register.reminders]\nsend = \"chefen\"\nto = [\"kim\"]\n[daemon]",
    ),
    (
        "an alarm by an account that is not there",
        "[daemon]",
        "[alarm]\nvia = [\"ntfy-jour\"]\n[daemon]",
    ),
    (
        "quiet hours without an end",
        "[daemon]",
        "[alarm.quiet]\nfrom = \"22\"\n[daemon]",
    ),
    (
        "quiet about a trouble that is none",
        "[daemon]",
        "[alarm.quiet]\nfrom = \"22:00\"\nuntil = \"06:00\"\ntroubles = [\"expires\"]\n[daemon]",
    ),
    (
        "a heartbeat without TLS",
        "[daemon]",
        "[alarm.heartbeat]\nurl = \"http://vakt.example.se\"\n[daemon]",
    ),
    ("unknown key", "site = ", "sajt = \"x\"\nsite = "),
    (
        "key of another section",
        "name = \"Nässjö kommun\"",
        "name = \"Nässjö kommun\"\nsocket = \"x\"",
    ),
    ("missing name", "name = \"Nässjö kommun\"\n", ""),
    ("name is a number", "\"Nässjö kommun\"", "7"),
    ("name is empty", "\"Nässjö kommun\"", "\" \""),
    (
        "name with a line break",
        "\"Nässjö kommun\"",
        "\"Nässjö\\nkommun\"",
    ),
    (
        "site without https",
        "\"https://nassjo.se\"",
        "\"http://nassjo.se\"",
    ),
    ("site without scheme", "\"https://nassjo.se\"", "\"nassjo.se\""),
    (
        "site with a password",
        "\"https://nassjo.se\"",
        "\"https://kris:hemligt@nassjo.se\"",
    ),
    (
        "site with a query",
        "\"https://nassjo.se\"",
        "\"https://nassjo.se/?a=1\"",
    ),
    (
        "host that is none",
        "site = ",
        "hosts = [\"nassjo se\", 3]\nsite = ",
    ),
    (
        "unknown language",
        "site = ",
        "languages = [\"sv\", \"fi\", \"sv\"]\nsite = ",
    ),
    ("no language", "site = ", "languages = []\nsite = "),
    (
        "unknown time zone",
        "site = ",
        "time_zone = \"Europe/Nassjo\"\nsite = ",
    ),
    (
        "daemon is no table",
        "[daemon]\ndata_dir = \"data\"",
        "[[daemon]]\ndata_dir = \"data\"",
    ),
    (
        "checks with a truth",
        "[confirmation]",
        "[checks]\nlink_timeout = true\n[confirmation]",
    ),
    (
        "duration without unit",
        "data_dir = \"data\"",
        "attempt_timeout = \"20\"",
    ),
    (
        "duration as a number",
        "data_dir = \"data\"",
        "attempt_timeout = 20",
    ),
    (
        "duration too long",
        "data_dir = \"data\"",
        "shutdown_grace = \"10m\"",
    ),
    (
        "duration too short",
        "data_dir = \"data\"",
        "attempt_timeout = \"0s\"",
    ),
    (
        "listens to the world",
        "data_dir = \"data\"",
        "listen = \"0.0.0.0:9187\"",
    ),
    (
        "wall for the world",
        "data_dir = \"data\"",
        "wall = \"192.168.1.2:8080\"",
    ),
    (
        "listen without port",
        "data_dir = \"data\"",
        "listen = \"127.0.0.1\"",
    ),
    (
        "public listener",
        "data_dir = \"data\"",
        "public_listen = \"0.0.0.0:443\"",
    ),
    (
        "user names for user ids",
        "data_dir = \"data\"",
        "allow_uids = [\"kris\"]",
    ),
    (
        "messages folder that is not there",
        "data_dir = \"data\"",
        "messages = \"meddelanden\"",
    ),
    (
        "another database",
        "data_dir = \"data\"",
        "database = \"mysql://localhost/x\"",
    ),
    (
        "vault and key in one file",
        "[confirmation]",
        "[vault]\nfile = \"v\"\nkey_file = \"v\"\n[confirmation]",
    ),
    ("nobody to tell", "to = [\"kris@nassjo.se\"]", "to = []"),
    (
        "one address, not a list",
        "to = [\"kris@nassjo.se\"]",
        "to = \"kris@nassjo.se\"",
    ),
    ("address that is none", "\"kris@nassjo.se\"", "\"kris@\""),
    ("address with ö", "\"kris@nassjo.se\"", "\"kris@nässjö.se\""),
    ("no sender", "from = \"vardkase@nassjo.se\"\n", ""),
    (
        "no relay",
        "[[relay]]\nid = \"relay-1\"\nhost = \"smtp.nassjo.se\"\n",
        "",
    ),
    ("relay as one table", "[[relay]]", "[relay]"),
    (
        "relay with more patience than a mail has time",
        "[[relay]]\n",
        "[[relay]]\npatience = \"1m\"\n",
    ),
    (
        "relay without TLS",
        "host = \"smtp.nassjo.se\"",
        "host = \"smtp.nassjo.se\"\ntls = \"none\"",
    ),
    (
        "relay with unknown TLS",
        "host = \"smtp.nassjo.se\"",
        "host = \"smtp.nassjo.se\"\ntls = \"start-tls\"",
    ),
    (
        "relay with port 0",
        "host = \"smtp.nassjo.se\"",
        "host = \"smtp.nassjo.se\"\nport = 0",
    ),
    (
        "relay with a password",
        "host = \"smtp.nassjo.se\"",
        "host = \"smtp.nassjo.se\"\npassword = \"hemligt\"",
    ),
    ("relay named like an account", "id = \"relay-1\"", "id = \"p4\""),
    ("list without anyone", "[\"tips@radio.example\"]", "[]"),
    (
        "list with a bad name",
        "[list.press]",
        "[list.\"Pressen i Nässjö\"]",
    ),
    (
        "unknown channel",
        "channel = \"mastodon\"",
        "channel = \"mastadon\"",
    ),
    (
        "channel that does not exist yet",
        "channel = \"mastodon\"",
        "channel = \"fax\"",
    ),
    ("no channel", "channel = \"mastodon\"\n", ""),
    (
        "missing key of the channel",
        "server = \"https://social.nassjo.se\"\n",
        "",
    ),
    ("misspelt key of the channel", "server = ", "sever = "),
    (
        "token in the file",
        "server = ",
        "access_token = \"hemligt\"\nserver = ",
    ),
    (
        "group with a space",
        "groups = [\"sociala\"]",
        "groups = [\"sociala medier\"]",
    ),
    (
        "group named like an account",
        "groups = [\"sociala\"]",
        "groups = [\"p4\"]",
    ),
    ("groups as text", "groups = [\"sociala\"]", "groups = \"sociala\""),
    ("unknown stage", "groups = [\"sociala\"]", "stage = \"fisrt\""),
    ("unknown policy", "groups = [\"sociala\"]", "unproven = \"retry\""),
    ("rate without time", "groups = [\"sociala\"]", "rate = \"30\""),
    ("rate of nothing", "groups = [\"sociala\"]", "rate = \"0/1m\""),
    (
        "parallel on one account",
        "groups = [\"sociala\"]",
        "parallel = 4",
    ),
    ("burst of nothing", "groups = [\"sociala\"]", "burst = 0"),
    (
        "fallback to nobody",
        "groups = [\"sociala\"]",
        "fallback = \"p5\"",
    ),
    (
        "fallback to itself",
        "groups = [\"sociala\"]",
        "fallback = \"mastodon-nassjo\"",
    ),
    (
        "fallback in a circle",
        "groups = [\"press\"]\ninstructions = \"Ring redaktionen.\"",
        "instructions = \"Ring.\"\nfallback = \"b\"\n[account.b]\nchannel = \"manual\"\ninstructions = \"Ring.\"\nfallback = \"p4\"",
    ),
    (
        "account named confirmation",
        "[account.p4]",
        "[account.confirmation]",
    ),
    ("account named like all of them", "[account.p4]", "[account.alla]"),
    ("account with capitals", "[account.p4]", "[account.P4]"),
    (
        "account twice",
        "[account.epost]",
        "[account.p4]\n[account.epost]",
    ),
    ("unknown list", "list = \"press\"", "list = \"pressen\""),
    (
        "reports to nobody",
        "[account.p4]",
        "[account.sms]\nchannel = \"sms-46elks\"\nfrom = \"Nassjo\"\nlist = \"nummer\"\n\
         whendelivered = \"https://kris.nassjo.se/rapporter/sms\"\n\
         [list.nummer]\nrecipients = [\"+46701740605\"]\n[account.p4]",
    ),
    (
        "reports to another account",
        "data_dir = \"data\"",
        "public_listen = \"127.0.0.1:8087\"\n[list.nummer]\nrecipients = [\"+46701740605\"]\n\
         [account.sms]\nchannel = \"sms-46elks\"\nfrom = \"Nassjo\"\nlist = \"nummer\"\n\
         whendelivered = \"https://kris.nassjo.se/reports/sms-2\"",
    ),
    ("unknown relay", "relay = \"relay-1\"", "relay = \"relay-2\""),
    (
        "account is no table",
        "[account.p4]\nchannel = \"manual\"",
        "[account]\np5 = 3\n[account.p4]\nchannel = \"manual\"",
    ),
    (
        "drill of nothing",
        "message = \"koka-vattnet\"",
        "message = \"koka-vatten\"",
    ),
    (
        "drill with an unknown field",
        "omrade = \"Forserum\"",
        "omraade = \"Forserum\", omrade = \"Forserum\"",
    ),
    ("drill without a field", "fields = { omrade = \"Forserum\" }", ""),
    (
        "drill to nobody",
        "to = [\"alla\"]",
        "to = [\"allihop\", \"presss\"]",
    ),
    ("drill field as a number", "omrade = \"Forserum\"", "omrade = 3"),
    (
        "drill at a time that is none",
        "to = [\"alla\"]",
        "to = [\"alla\"]\nschedule = \"0 25 * * *\"",
    ),
    (
        "drill on a day that never comes",
        "to = [\"alla\"]",
        "to = [\"alla\"]\nschedule = \"0 10 31 2 *\"",
    ),
    (
        "drill at a level that is none",
        "to = [\"alla\"]",
        "to = [\"alla\"]\nlevel = \"rehearsal\"",
    ),
    (
        "drill with faults where nothing can fail",
        "to = [\"alla\"]",
        "to = [\"alla\"]\nlevel = \"reach\"\nfaults = [{ what = \"dead\", account = \"mastodon-nassjo\" }]",
    ),
    (
        "drill with faults of what is not there or cannot fail",
        "to = [\"alla\"]",
        "to = [\"alla\"]\nfaults = [{ what = \"dead\", account = \"mastodon\" }, { what = \"dead\", account = \"p4\" }, \
         { what = \"token-expired\", account = \"epost\" }, { what = \"relay-down\", relay = \"relay-9\" }]",
    ),
    (
        "drill with faults that say too little or too much",
        "to = [\"alla\"]",
        "to = [\"alla\"]\nfaults = [{ account = \"p4\" }, { what = \"dead\" }, { what = \"ded\", account = \"p4\" }, \
         { what = \"relay-down\", account = \"p4\" }, { what = \"relay-down\", relay = \"relay-1\", times = 3 }]",
    ),
    (
        "drill with a notice of no day",
        "to = [\"alla\"]",
        "to = [\"alla\"]\nnotice = { before = \"7d\", text = \"Vi övar.\" }",
    ),
    (
        "drill with rules that cannot be",
        "to = [\"alla\"]",
        "to = [\"alla\"]\ngrade = { published_percent = 101, most_misses = -1, all_within = \"0s\", last_within = \"1s\" }",
    ),
    (
        "drill that tells nobody, or what is no address",
        "to = [\"alla\"]",
        "to = [\"alla\"]\ntell = [\"krisledningen\"]",
    ),
    (
        "text without end",
        "name = \"Nässjö kommun\"",
        "name = \"Nässjö kommun",
    ),
    ("no value", "name = \"Nässjö kommun\"", "name ="),
    (
        "the same key twice",
        "name = \"Nässjö kommun\"",
        "name = \"a\"\nname = \"b\"",
    ),
];

#[test]
fn each_broken_configuration_says_where_it_is_wrong_and_what_to_do() {
    let mut all = String::new();
    for (what, from, to) in CASES {
        assert!(SOUND.contains(from), "{what}: the case does not fit the base");
        let place = Place::with(&SOUND.replacen(from, to, 1));
        let faults = place.faults();
        assert_ne!(faults, "(no fault)", "{what}");
        assert!(!faults.contains("hemligt"), "{what}: {faults}");
        writeln!(all, "# {what}\n{faults}\n").unwrap();
    }
    assert!(CASES.len() >= 40);
    // The list of channels grows with each one.
    let known: Vec<&str> = vardkase::channel::REGISTRY.iter().map(|kind| kind.id).collect();
    insta::assert_snapshot!(all.replace(&known.join(", "), "(every channel)"));
}
