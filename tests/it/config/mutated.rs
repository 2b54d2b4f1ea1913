//! Whatever happens to the file, the loader neither dies nor shrugs (R18, the loading half): it loads, or it names a place
//! inside the file.

use proptest::prelude::*;
use vardkase::config::Config;

use super::{Place, shipped};

/// Something that a hand, an editor or a disk does to a file.
#[derive(Debug, Clone)]
enum Mutation {
    Flip(prop::sample::Index, u8),
    DropLine(prop::sample::Index),
    DoubleLine(prop::sample::Index),
    SwapLines(prop::sample::Index, prop::sample::Index),
    Value(prop::sample::Index, &'static str),
    Cut(prop::sample::Index),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let index = any::<prop::sample::Index>;
    let value = prop::sample::select(vec![
        "7",
        "-1",
        "1.5",
        "true",
        "[]",
        "{}",
        "\"\"",
        "\"å\"",
        "[[1]]",
        "2026-11-23",
        "{ a = 1 }",
        "'''x'''",
        "nan",
        "99999999999999999999",
    ]);
    prop_oneof![
        3 => (index(), 0..8_u8).prop_map(|(at, bit)| Mutation::Flip(at, bit)),
        2 => index().prop_map(Mutation::DropLine),
        2 => index().prop_map(Mutation::DoubleLine),
        1 => (index(), index()).prop_map(|(a, b)| Mutation::SwapLines(a, b)),
        4 => (index(), value).prop_map(|(at, value)| Mutation::Value(at, value)),
        1 => index().prop_map(Mutation::Cut),
    ]
}

fn mutate(bytes: &mut Vec<u8>, mutation: &Mutation) {
    if let Mutation::Flip(at, bit) = mutation {
        if !bytes.is_empty() {
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
        }
        return;
    }
    let mut lines: Vec<Vec<u8>> = bytes.split(|b| *b == b'\n').map(<[u8]>::to_vec).collect();
    // Comments are most of the file and say nothing to the loader.
    let telling: Vec<usize> = (0..lines.len())
        .filter(|n| !lines[*n].is_empty() && lines[*n][0] != b'#')
        .collect();
    if telling.is_empty() {
        return;
    }
    let line = |at: &prop::sample::Index| telling[at.index(telling.len())];
    match mutation {
        Mutation::Flip(..) => {}
        Mutation::DropLine(at) => {
            lines.remove(line(at));
        }
        Mutation::DoubleLine(at) => {
            let at = line(at);
            lines.insert(at, lines[at].clone());
        }
        Mutation::SwapLines(a, b) => lines.swap(line(a), line(b)),
        Mutation::Value(at, value) => {
            let line = &mut lines[line(at)];
            if let Some(equals) = line.iter().position(|b| *b == b'=') {
                line.truncate(equals + 1);
                line.extend_from_slice(value.as_bytes());
            }
        }
        Mutation::Cut(at) => lines.truncate(line(at)),
    }
    *bytes = lines.join(&b'\n');
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_mutated_configuration_loads_or_names_a_place_inside_the_file(
        mutations in prop::collection::vec(mutation(), 1..4)
    ) {
        let mut bytes = std::fs::read(shipped()).unwrap();
        for mutation in &mutations {
            mutate(&mut bytes, mutation);
        }
        let place = Place::with("");
        std::fs::write(place.file(), &bytes).unwrap();
        if let Err(problems) = Config::load(&place.file()) {
            let text = String::from_utf8_lossy(&bytes);
            let lines: Vec<&str> = text.split('\n').collect();
            prop_assert!(!problems.0.is_empty());
            for problem in &problems.0 {
                prop_assert_eq!(&problem.file, &place.file());
                prop_assert!((1..=lines.len()).contains(&problem.line), "{}", problem);
                let width = lines[problem.line - 1].chars().count();
                prop_assert!((1..=width + 1).contains(&problem.column), "{} in a line of {}", problem, width);
                prop_assert!(!problem.text.trim().is_empty());
            }
        }
    }
}
