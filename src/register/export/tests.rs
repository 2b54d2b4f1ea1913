use std::collections::BTreeSet;

use super::*;
use crate::register::page_links::links;

/// The configuration that comes with the program, after changes.
pub(crate) fn shipped(change: impl Fn(String) -> String) -> Config {
    let text = change(include_str!("../../../config.toml").to_owned());
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("config.toml");
    std::fs::write(&file, text).expect("a file");
    Config::load(&file).unwrap_or_else(|problems| panic!("{problems}"))
}

/// With one account closed, and one that tries to become markup, a formula or a link.
fn changed() -> Public {
    Public::of(&shipped(|text| {
        text.replace(
            "case = \"KS 2013/88\"",
            "case = \"KS 2013/88\"\nclosed = \"2026-10-01\"",
        )
        .replace(
            "name = \"Nässjö bibliotek på Facebook\"",
            "name = \"=cmd|'<script>alert(1)</script>'\"",
        )
    }))
}

#[test]
fn the_page_the_json_and_the_csv_of_the_shipped_register() {
    let public = changed();
    insta::assert_snapshot!("accounts_html", public.html().expect("a page"));
    insta::assert_snapshot!("accounts_json", public.json().expect("JSON"));
    insta::assert_snapshot!("accounts_csv", public.csv().replace("\r\n", "\n"));
    assert!(public.csv().contains("\r\n"));
}

#[test]
fn the_same_register_has_the_same_digest_and_another_has_another() {
    let digest = |public: Public| public.digest().expect("a digest");
    assert_eq!(digest(changed()), digest(changed()));
    assert_ne!(digest(changed()), digest(Public::of(&shipped(|text| text))));
}

#[test]
fn nothing_that_is_not_public_stands_in_the_list() {
    let config = shipped(|text| text);
    let public = Public::of(&config);
    let all = [
        public.html().expect("a page"),
        public.json().expect("JSON"),
        public.csv(),
    ]
    .join("\n");
    for account in config.accounts.values() {
        let entry = &account.register;
        for inner in [
            &entry.plan,
            &entry.document_plan,
            &entry.audience_basis,
            &entry.case,
        ]
        .into_iter()
        .flatten()
        {
            assert!(!all.contains(inner.as_str()), "{}: {inner}", account.id);
        }
        assert_eq!(
            all.contains(&format!("konto-{}\"", account.id)),
            is_listed(account),
            "{}",
            account.id
        );
    }
    for never in ["krisgrupp", "+46", "krisledning"] {
        assert!(!all.contains(never), "{never}");
    }
}

/// Every tag of a fragment as name and attributes, in order; `/name` where one ends.
fn tags(html: &str) -> Vec<(String, Vec<(String, String)>)> {
    let mut found = Vec::new();
    for piece in html.split('<').skip(1) {
        let (tag, text) = piece.split_once('>').expect("a tag that ends");
        assert!(!text.contains('>'), "an unescaped sign after {tag}");
        let (tag, is_closed) = tag.strip_suffix('/').map_or((tag, false), |tag| (tag, true));
        let mut words = tag.splitn(2, ' ');
        let name = words.next().unwrap_or_default().to_owned();
        let mut rest = words.next().unwrap_or_default().trim();
        let mut attributes = Vec::new();
        while !rest.is_empty() {
            let (key, after) = rest
                .split_once("=\"")
                .unwrap_or_else(|| panic!("an attribute without quotes: {tag}"));
            let (value, after) = after
                .split_once('"')
                .unwrap_or_else(|| panic!("a quote that does not end: {tag}"));
            attributes.push((key.to_owned(), value.to_owned()));
            rest = after.trim_start();
        }
        if is_closed {
            attributes.push(("/".to_owned(), String::new()));
        }
        found.push((name, attributes));
    }
    found
}

/// What a validator would say of a page or a fragment: tags that nest, ids that stand once and are there where named,
/// links and headings with text, tables with caption and scopes.
pub(crate) fn validate(html: &str) {
    let (mut open, mut ids, mut named) = (Vec::new(), BTreeSet::new(), Vec::new());
    let mut level = 0;
    for (name, attributes) in tags(html) {
        let get = |key: &str| {
            attributes
                .iter()
                .find(|(k, _)| k == key)
                .map(|(_, value)| value.as_str())
        };
        assert!(!name.eq_ignore_ascii_case("script"), "a script");
        assert!(
            attributes.iter().all(|(key, _)| !key.starts_with("on")),
            "a handler: {name}"
        );
        if let Some(ended) = name.strip_prefix('/') {
            assert_eq!(
                open.pop().as_deref(),
                Some(ended),
                "a tag that ends inside another: {ended}"
            );
            continue;
        }
        if let Some(id) = get("id") {
            assert!(ids.insert(id.to_owned()), "the id {id} stands twice");
        }
        named.extend(
            get("aria-labelledby")
                .into_iter()
                .flat_map(str::split_whitespace)
                .map(str::to_owned),
        );
        if let Some(heading) = name.strip_prefix('h').and_then(|n| n.parse::<u32>().ok()) {
            assert!(level == 0 || heading <= level + 1, "from h{level} to h{heading}");
            level = heading;
        }
        match name.as_str() {
            "th" => assert!(
                matches!(get("scope"), Some("col" | "row")),
                "a head without scope"
            ),
            "a" => assert!(
                get("href").is_some_and(|href| href.starts_with("https://") || href.starts_with("mailto:")),
                "{attributes:?}"
            ),
            _ => {}
        }
        let is_void = matches!(name.as_str(), "br" | "meta" | "!DOCTYPE" | "img" | "hr")
            || attributes.last().is_some_and(|(key, _)| key == "/");
        if !is_void && !name.ends_with('/') {
            open.push(name);
        }
    }
    assert_eq!(open, [""; 0], "tags that do not end");
    for id in named {
        assert!(ids.contains(&id), "{id} is named and not there");
    }
    for (part, end) in [
        ("<a ", "</a>"),
        ("<h1", "</h1>"),
        ("<h2", "</h2>"),
        ("<h3", "</h3>"),
        ("<caption", "</caption>"),
    ] {
        for piece in html.split(part).skip(1) {
            let text = piece
                .split_once(end)
                .and_then(|(inner, _)| inner.split_once('>'))
                .map(|(_, text)| text.trim());
            assert!(text.is_some_and(|text| !text.is_empty()), "nothing in {part}>");
        }
    }
    assert_eq!(html.matches("<table").count(), html.matches("<caption").count());
}

#[test]
fn the_page_is_sound_and_each_account_a_link_of_ours() {
    let public = changed();
    let html = public.html().expect("a page");
    validate(&html);
    assert!(html.starts_with("<section lang=\"sv\""));
    assert!(
        !html.contains("<script") && html.contains("&lt;script&gt;"),
        "{html}"
    );
    let found = links(&html, &public.site);
    let open: Vec<&Url> = public
        .accounts
        .iter()
        .filter_map(|one| one.url.as_ref())
        .collect();
    assert!(open.len() > 10);
    for url in &open {
        assert!(found.contains(url), "{url}");
    }
    assert_eq!(html.matches("rel=\"me\"").count(), open.len());
    // Somebody else may have the name of a closed account by now.
    assert!(!html.contains("nassjokommun\">Nässjö kommun på X") && html.contains("avslutat 1 oktober 2026"));
    let empty = Public {
        accounts: Vec::new(),
        ..public
    };
    validate(&empty.html().expect("a page"));
}

#[test]
fn a_cell_is_never_a_formula() {
    for (text, cell) in [
        ("=1+1", "\"'=1+1\""),
        (" =1", "\"' =1\""),
        ("\u{feff}@SUM(A1)", "\"'\u{feff}@SUM(A1)\""),
        ("\t+1", "\"'\t+1\""),
        ("\0-1", "\"'-1\""),
        ("＝1", "\"'＝1\""),
        ("say \"hej\", du", "\"say \"\"hej\"\", du\""),
        ("två\r\nrader", "\"två\r\nrader\""),
        ("a=b", "\"a=b\""),
    ] {
        assert_eq!(csv_cell(text), cell, "{text:?}");
    }
}
