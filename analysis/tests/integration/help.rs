//! The help of every command.

use crate::fixtures::{alpha_flops, stdout};

/// The help of a command and of its subcommands, in the order in which they are listed.
fn help(command: &[&str]) -> Vec<String> {
    let own = stdout(alpha_flops(command).arg("--help"));
    let listed = own.lines().skip_while(|line| *line != "Commands:").skip(1);
    let listed = listed.take_while(|line| !line.is_empty());
    let names = listed.filter_map(|line| line.strip_prefix("  ").unwrap().split_once(' '));
    let names = names.map(|(name, _)| name).filter(|name| !name.is_empty() && *name != "help");
    let subcommands = names.flat_map(|name| help(&[command, &[name]].concat()));
    std::iter::once(own.clone()).chain(subcommands).collect()
}

#[test]
fn help_says_what_each_command_gives_and_takes_in_80_columns() {
    let help = help(&[]);
    assert!(help.len() > 15, "{} commands and subcommands", help.len());
    for line in help.iter().flat_map(|help| help.lines()) {
        // clap does not wrap these
        assert!(line.starts_with("Usage: ") || line.chars().count() <= 80, "{line}");
    }
    insta::assert_snapshot!(help.join("\n────\n"));
}
