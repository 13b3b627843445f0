//! Names that others chose, with what would change a terminal or a page.

use std::fs;

use alpha_flops::protocol::Profile;
use serde_json::{Value, json};

use crate::fixtures::data_files::archived_target;
use crate::fixtures::runs::write_run;
use crate::fixtures::{alpha_flops, said, stdout, text};

const NAME: &str = "GPU\u{1b}[31m\u{7}<script>|\u{9b}2J";
const SHOWN: &str = "GPU\\u001b[31m\\u0007<script>|\\u009b2J";

#[test]
fn no_name_of_a_device_or_a_source_or_a_file_gets_to_a_terminal_or_a_page_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let run = write_run(
        folder.path(),
        Profile::Smoke,
        1,
        &vec![vec![1e6, 1.1e6, 1.2e6, 1.3e6, 1.2e6]; 3],
    );
    let file = run.join("run.json");
    let mut record: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    record["plan"]["platform"]["device"] = NAME.into();
    fs::write(&file, serde_json::to_vec(&record).unwrap()).unwrap();
    let is_plain = |text: &str| !text.contains(|c: char| c.is_control() && c != '\n');

    for format in ["table", "csv", "json"] {
        let shown = stdout(alpha_flops(["variance", text(&run), "--format", format]));
        assert!(is_plain(&shown), "{shown}");
    }
    // a dataset with its environment
    let archived = archived_target().join("2026-11-25t15-38-14z-063f.csv");
    let dataset = folder.path().join("d.csv");
    let rows = fs::read_to_string(&archived).unwrap();
    let few: Vec<&str> = rows.lines().filter(|row| !row.contains("k=3")).take(10).collect();
    fs::write(&dataset, few.join("\n").replace("AMD EPYC", "AMD <script>")).unwrap();
    let environment = fs::read(archived.with_extension("environment.json")).unwrap();
    let mut environment: Value = serde_json::from_slice(&environment).unwrap();
    environment["plan"]["platform"]["os"] = NAME.into();
    fs::write(dataset.with_extension("environment.json"), environment.to_string()).unwrap();
    let out = folder.path().join("report");
    stdout(alpha_flops(["report", text(&dataset), "--out", text(&out)]));
    let report = fs::read_to_string(out.join("report.md")).unwrap();
    assert!(is_plain(&report), "{report}");
    assert!(!report.contains("<script>") && report.contains("&lt;script>"), "{report}");
    let figures = fs::read_dir(out.join("figures")).unwrap().map(|entry| entry.unwrap().path());
    let figures: Vec<_> =
        figures.filter(|path| path.extension().is_some_and(|e| e == "svg")).collect();
    assert!(!figures.is_empty());
    for figure in figures {
        let figure = fs::read_to_string(figure).unwrap();
        assert!(is_plain(&figure) && !figure.contains("<script>"));
    }

    let coefficients = folder.path().join(format!("{NAME}.json"));
    let group = json!({"beta": 0.5, "gamma": 0.5, "final": 1e-3});
    let content = json!({
        "schema_version": 2, "source": NAME, "fitted_on": null, "flops": "macs", "s_k": "side",
        "k_equal_1": group, "k_above_1": group,
    });
    fs::write(&coefficients, serde_json::to_vec(&content).unwrap()).unwrap();
    let evaluated = ["evaluate", text(&dataset), "--coefficients", text(&coefficients)];
    let evaluated = stdout(alpha_flops(evaluated));
    assert!(is_plain(&evaluated) && evaluated.contains("\\u001b"), "{evaluated}");
    let missing = folder.path().join(format!("{NAME}.csv"));
    let refused = said(alpha_flops(["fit", text(&missing), "--s-k", "side", "--flops", "macs"]));
    assert!(is_plain(&refused.stderr) && refused.stderr.contains(SHOWN), "{}", refused.stderr);
}
