//! The command `import nvbench`: what was exported comes back, and nvbench's own files are datasets.

use std::fs;
use std::path::{Path, PathBuf};

use alpha_flops_analysis::dataset::{Dataset, Latency};
use serde_json::{Value, json};

use crate::fixtures::{alpha_flops, said, stderr_of_failure, stdout, text};

#[test]
fn what_was_exported_comes_back() {
    let run = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/frozen/fixtures/measured/1");
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let [direct, exported, back] = ["direct.csv", "exported.json", "back.csv"].map(at);
    stdout(alpha_flops(["import", "criterion", text(&run), "--out", text(&direct)]));
    stdout(alpha_flops(["export", text(&run), "--to", "nvbench", "--out", text(&exported)]));
    stdout(alpha_flops(["import", "nvbench", text(&exported), "--out", text(&back)]));
    let [direct, back] = [direct, back].map(|path| Dataset::read(&path).unwrap());
    assert_eq!(back.provenance, direct.provenance);
    assert_eq!((back.observations.len(), direct.observations.len()), (25, 25));
    for (back, direct) in back.observations.iter().zip(&direct.observations) {
        assert_eq!(
            (&back.experiment, &back.series, back.x, back.shape, &back.algorithm),
            (&direct.experiment, &direct.series, direct.x, direct.shape, &direct.algorithm)
        );
        assert_eq!(back.latency.launches, direct.latency.launches);
        for of in [
            |of: &Latency| of.median_ns,
            |of: &Latency| of.mean_ns,
            |of: &Latency| of.q1_ns,
            |of: &Latency| of.q3_ns,
        ] {
            let [back, direct] = [&back.latency, &direct.latency].map(|of_one| of(of_one).unwrap());
            // nanoseconds become seconds and nanoseconds again
            assert!((back / direct - 1.0).abs() < 1e-15, "{back} {direct}");
        }
    }
}

/// A file as nvbench writes it, of two states; its samples are 1 to 5 and 10 to 50 µs.
struct Nvbench {
    folder: tempfile::TempDir,
    json: Value,
}

impl Nvbench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("b.json-bin")).unwrap();
        for (index, scale) in [(0, 1e-6f32), (1, 1e-5)] {
            let bytes: Vec<u8> = (1..=5).flat_map(|i| (i as f32 * scale).to_le_bytes()).collect();
            let name = format!("b.json-bin/{index}.bin");
            fs::write(folder.path().join(name), bytes).unwrap();
        }
        let number = |tag: &str, kind: &str, value: &str| json!({ "tag": tag, "data": [{ "name": "value", "type": kind, "value": value }] });
        let state = |index: usize, kernel: &str| {
            let axes = ["height", "width", "in_channels", "out_channels", "Kernel"];
            let values = ["32", "16", "64", "128", kernel];
            let axes = axes.iter().zip(values);
            json!({
                "name": format!("Device=0 Kernel={kernel}"),
                "device": 0,
                "type_config_index": 0,
                "axis_values": axes
                    .map(|(name, value)| json!({ "name": name, "type": "int64", "value": value }))
                    .collect::<Vec<_>>(),
                "summaries": [
                    number("nv/cold/sample_size", "int64", "5"),
                    number("nv/cold/time/gpu/mean", "float64", "3.0e-6"),
                    number("nv/batch/sample_size", "int64", "700"),
                    number("nv/batch/time/gpu/mean", "float64", "2.5e-06"),
                    { "tag": "nv/json/bin:nv/cold/sample_times", "data": [
                        { "name": "filename", "type": "string",
                          "value": format!("b.json-bin/{index}.bin") },
                        { "name": "size", "type": "int64", "value": "5" },
                    ] },
                ],
                "is_skipped": false,
            })
        };
        let version = json!({ "major": 1, "minor": 0, "patch": 0, "string": "1.0.0" });
        let json = json!({
            "meta": { "argv": ["./conv"], "version": {
                "json": version, "nvbench": { "string": "0.1.0", "git_sha": "abc" } } },
            "devices": [{ "id": 0, "name": "NVIDIA H200", "sm_version": 900 }],
            "benchmarks": [{
                "name": "conv", "index": 0, "devices": [0], "axes": [],
                "states": [state(1, "3"), state(0, "1")],
            }],
        });
        Self { folder, json }
    }

    fn state(&mut self) -> &mut Value {
        &mut self.json["benchmarks"][0]["states"][0]
    }

    /// Its path, and that of the dataset.
    fn write(&self) -> [PathBuf; 2] {
        let [json, out] = ["b.json", "out.csv"].map(|name| self.folder.path().join(name));
        fs::write(&json, self.json.to_string()).unwrap();
        [json, out]
    }

    fn imported(&self, times: &str) -> Dataset {
        let [json, out] = self.write();
        stdout(alpha_flops([
            "import",
            "nvbench",
            text(&json),
            "--times",
            times,
            "--out",
            text(&out),
        ]));
        Dataset::read(&out).unwrap()
    }

    fn refused(&self) -> String {
        let [json, out] = self.write();
        stderr_of_failure(alpha_flops(["import", "nvbench", text(&json), "--out", text(&out)]))
    }
}

#[test]
fn a_file_of_nvbenchs_says_gpu_version_and_kind_of_times_and_samples_give_quartiles() {
    let dataset = Nvbench::new().imported("cold");
    let of = &dataset.provenance;
    assert_eq!(
        [&of.source, &of.backend, &of.device, &of.versions, &of.protocol],
        ["b.json", "unknown", "NVIDIA H200", "nvbench 0.1.0", "nvbench cold, GPU time"]
    );
    let [first, second] = &dataset.observations[..] else { panic!("{dataset:?}") };
    assert_eq!(
        (first.experiment.as_str(), first.series.as_str(), first.shape.to_string().as_str()),
        ("conv", "K = 1", "h=32_w=16_in=64_out=128_k=1")
    );
    assert_eq!((second.series.as_str(), first.latency.passes), ("K = 3", None));
    let Latency { median_ns, q1_ns, q3_ns, launches, .. } = second.latency;
    let close = |got: Option<f64>, expected: f64| (got.unwrap() / expected - 1.0).abs() < 1e-6;
    assert!(close(median_ns, 3e4) && close(q1_ns, 2e4) && close(q3_ns, 4e4), "{second:?}");
    assert_eq!(launches, Some(5));

    let dataset = Nvbench::new().imported("batch");
    assert_eq!(dataset.provenance.protocol, "nvbench batch, GPU time");
    let Latency { median_ns, mean_ns, launches, .. } = dataset.observations[0].latency;
    assert_eq!((median_ns, launches), (None, Some(700)));
    assert!(close(mean_ns, 2500.0), "{mean_ns:?}");
}

#[test]
fn what_is_no_convolution_or_not_of_one_device_is_refused_by_name() {
    let refused = |change: &dyn Fn(&mut Nvbench)| {
        let mut file = Nvbench::new();
        change(&mut file);
        file.refused()
    };
    let unknown = refused(&|file| file.state()["axis_values"][1]["name"] = "BlockSize".into());
    assert!(unknown.contains("conv, Device=0 Kernel=3: unknown axes `BlockSize`"), "{unknown}");
    let missing = refused(&|file| drop(file.state()["axis_values"].as_array_mut().unwrap().pop()));
    assert!(missing.contains("it has no axis Kernel; expected Height, Width"), "{missing}");
    let half = refused(&|file| file.state()["axis_values"][0]["value"] = "1.5".into());
    assert!(half.contains("height is 1.5, expected a whole number"), "{half}");
    let devices = refused(&|file| file.state()["device"] = 1.into());
    assert!(devices.contains("of the devices 0, 1, expected one"), "{devices}");
    let host = refused(&|file| file.state()["device"] = Value::Null);
    assert!(host.contains("of no device"), "{host}");
    let newer = refused(&|file| file.json["meta"]["version"]["json"]["major"] = 2.into());
    assert!(newer.contains("meta.version.json"), "{newer}");
    let other = refused(&|file| {
        file.json["meta"]["alpha-flops"] = json!({ "source": "s", "backend": "cpu", "device": "d",
            "versions": "v", "protocol": "p" });
        file.json["benchmarks"][0]["name"] = "alpha-flops A".into();
    });
    assert!(other.contains("is not of experiment A"), "{other}");
}

#[test]
fn damaged_states_are_left_out_by_name_and_skipped_ones_are_listed() {
    let left_out = |change: &dyn Fn(&mut Nvbench)| {
        let mut file = Nvbench::new();
        change(&mut file);
        let [json, out] = file.write();
        let said = said(alpha_flops(["import", "nvbench", text(&json), "--out", text(&out)]));
        assert_eq!(Dataset::read(&out).unwrap().observations.len(), 1);
        assert!(said.stdout.contains("conv, Device=0 Kernel=3"), "{}", said.stdout);
        (said.status, said.stdout)
    };
    let of_samples = |bytes: &'static [u8]| {
        move |file: &mut Nvbench| {
            fs::write(file.folder.path().join("b.json-bin/1.bin"), bytes).unwrap();
        }
    };
    for (change, expected) in [
        (&of_samples(&[0; 18]) as &dyn Fn(&mut Nvbench), "has 18 bytes, expected 5 samples of 4"),
        (&of_samples(&[0; 20]), "sample 0 is 0 ns, expected a finite time above 0"),
        (
            &|file| fs::remove_file(file.folder.path().join("b.json-bin/1.bin")).unwrap(),
            "No such file",
        ),
        (
            &|file| {
                let summaries = file.state()["summaries"].as_array_mut().unwrap();
                summaries[1]["tag"] = "nv/cold/time/gpu/max".into();
            },
            "max of the samples is 49999.99",
        ),
        (
            &|file| {
                let summaries = file.state()["summaries"].as_array_mut().unwrap();
                summaries.retain(|of| of["tag"].as_str().unwrap().starts_with("nv/batch"));
            },
            "it has no nv/cold/time/gpu/mean",
        ),
    ] {
        let (status, said) = left_out(change);
        assert!(status == 1 && said.contains(expected), "{said}");
    }
    let (status, said) = left_out(&|file| {
        file.state()["is_skipped"] = true.into();
        file.state()["skip_reason"] = "out of memory".into();
    });
    assert!(status == 0 && said.contains("out of memory"), "{said}");
}
