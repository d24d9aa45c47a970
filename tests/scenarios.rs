//! Scenarios: messages in, incidents out, in every configuration. `tests/README.md` says how to add one.

mod support;

use support::scenario::folder;
use support::scenario_check::check_file;

macro_rules! files {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            check_file(concat!(stringify!($name), ".yaml"));
        })*

        #[test]
        fn every_file_of_scenarios_is_checked() {
            let listed = [$(concat!(stringify!($name), ".yaml")),*];
            let there = std::fs::read_dir(folder("tests/scenarios")).expect("the folder is there");
            for file in there {
                let name = file.expect("it can be listed").file_name();
                assert!(listed.iter().any(|listed| name == *listed), "add {name:?} to `files!`");
            }
        }
    };
}

files! {
    engine patterns poison sentracore streamtrace trace
}
