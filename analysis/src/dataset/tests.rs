use proptest::prelude::*;

use super::*;
use crate::fit::Sample;
use crate::model::{FlopConvention, KernelTerm};

const GOOD: &str = "\
source,backend,device,versions,protocol,experiment,series,x,id,height,width,in_channels,\
out_channels,kernel,algorithm,median_ns,mean_ns,q1_ns,q3_ns,launches,outliers_mild,outliers_severe
run 1,cpu,\"AMD, 2 threads\",gemm 0.19,latency-warm,B,C = 50,2,h=150_w=150_in=50_out=50_k=2,\
150,150,50,50,2,slab,1000.5,1001,900,1100,2000,3,1
run 1,cpu,\"AMD, 2 threads\",gemm 0.19,latency-warm,B,C = 50,3,h=100_w=100_in=50_out=50_k=3,\
100,100,50,50,3,,,0.125,,,,,
";

fn read_text(name: &str, text: &[u8]) -> Result<Dataset, String> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(name);
    std::fs::write(&path, text).unwrap();
    let prefix = directory.path().display().to_string() + "/";
    Dataset::read(&path).map_err(|error| error.to_string().replace(&prefix, ""))
}

#[test]
fn a_csv_file_reads_as_what_it_says() {
    let dataset = read_text("d.csv", GOOD.as_bytes()).unwrap();
    assert_eq!(dataset.provenance.device, "AMD, 2 threads");
    let [first, second] = dataset.observations.as_slice() else { panic!("two rows") };
    assert_eq!(first.shape.to_string(), "h=150_w=150_in=50_out=50_k=2");
    assert_eq!(first.typical(), Some(Nanoseconds(1000.5)));
    assert_eq!((first.x, first.latency.launches), (2.0, Some(2000)));
    assert_eq!(first.algorithm.as_deref(), Some("slab"));
    assert_eq!(second.typical(), Some(Nanoseconds(0.125)));
    assert_eq!(second.algorithm, None);
}

#[test]
fn what_is_wrong_in_a_file_is_named_with_its_line() {
    for (from, to, expected) in [
        ("1000.5", "-3", "d.csv:2: median_ns is -3, expected a finite number above 0"),
        ("1000.5", "NaN", "d.csv:2: median_ns is NaN, expected a finite number above 0"),
        ("1000.5", "fast", "d.csv:2: median_ns is `fast`, expected a number"),
        ("0.125", "0", "d.csv:3: mean_ns is 0, expected a finite number above 0"),
        ("0.125", "", "d.csv:3: median_ns and mean_ns are both empty, expected at least one"),
        ("900", "1000.75", "q1_ns ≤ median_ns ≤ q3_ns does not hold: 1000.75, 1000.5, 1100"),
        ("2000,3,1", "2,3,1", "d.csv:2: 4 outliers among 2 launches"),
        ("2000,3", "2000,x", "d.csv:2: outliers_mild is `x`, expected a whole number"),
        ("150,150,50,50,2", "150,150,50,50,0", "d.csv:2: kernel is 0, expected 1 to 4294967295"),
        ("150,150,50,50,2", "150,151,50,50,2", "but the dimensions are those of `h=150_w=151_"),
        (
            "h=100_w=100_in=50_out=50_k=3,100,100,50,50,3",
            "h=150_w=150_in=50_out=50_k=2,150,150,50,50,2",
            "d.csv:3: h=150_w=150_in=50_out=50_k=2 in series `C = 50` repeats d.csv:2",
        ),
        ("B,C = 50,3", "B,,3", "d.csv:3: series is empty"),
        ("B,C = 50,3", "B,C = 50,inf", "d.csv:3: x is inf, expected a finite number"),
        ("q3_ns,", "q3_us,", "d.csv: column `q3_ns` is missing; unknown is `q3_us`; expected"),
        ("q3_ns,", "q1_ns,", "d.csv: column `q1_ns` appears twice"),
        ("2000,3,1", "2000,3", "found record with 21 fields"),
    ] {
        assert!(GOOD.contains(from), "{from}");
        let error = read_text("d.csv", GOOD.replacen(from, to, 1).as_bytes()).unwrap_err();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn rows_of_two_origins_are_refused() {
    let mixed = GOOD.replacen("run 1", "run 2", 1);
    let error = read_text("d.csv", mixed.as_bytes()).unwrap_err();
    let expected = "d.csv:3: source is `run 1`, but `run 2` in the first row; a dataset has one \
                    origin: split it";
    assert_eq!(error, expected);
}

#[test]
fn files_that_are_no_datasets_are_refused_with_their_name() {
    assert!(read_text("d.csv", b"").unwrap_err().contains("column `source` is missing"));
    let header = GOOD.lines().next().unwrap();
    assert_eq!(
        read_text("d.csv", header.as_bytes()).unwrap_err(),
        "d.csv: the dataset has no configurations"
    );
    assert!(read_text("d.csv", b"\xff\xfe,\n").is_err());
    assert!(read_text("d.parquet", b"PAR1").unwrap_err().contains("no readable Parquet file"));
    assert!(read_text("d.txt", b"").unwrap_err().contains(".csv or .parquet"));
    let error = Dataset::read(Path::new("absent.csv")).unwrap_err();
    assert!(error.to_string().starts_with("cannot read absent.csv: "), "{error}");
}

#[test]
fn a_dataset_that_could_not_be_read_back_is_not_written() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("d.csv");
    let mut dataset = read_text("d.csv", GOOD.as_bytes()).unwrap();
    dataset.observations[1].latency.mean_ns = Some(f64::NAN);
    let error = dataset.write(&path).unwrap_err().to_string();
    assert!(
        error.ends_with("d.csv:3: mean_ns is NaN, expected a finite number above 0"),
        "{error}"
    );
    assert!(!path.exists());
}

#[test]
fn a_damaged_parquet_file_is_an_error_and_never_a_panic() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("d.parquet");
    read_text("d.csv", GOOD.as_bytes()).unwrap().write(&path).unwrap();
    let good = std::fs::read(&path).unwrap();
    for cut in (0..good.len()).step_by(97) {
        assert!(read_text("d.parquet", &good[..cut]).is_err(), "cut at {cut}");
    }
    for position in (0..good.len()).step_by(31) {
        let mut damaged = good.clone();
        damaged[position] ^= 0x55;
        // some damage is to unused metadata and some to values that stay valid
        let _ = read_text("d.parquet", &damaged);
    }
}

#[test]
fn a_fit_refuses_what_every_other_command_refuses() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("d.parquet");
    let good = read_text("d.csv", GOOD.as_bytes()).unwrap();
    let changes: [&dyn Fn(&mut Dataset); 6] = [
        &|d| d.observations.push(d.observations[0].clone()),
        &|d| d.observations[0].latency.q1_ns = Some(1e9),
        &|d| d.observations[1].latency.mean_ns = Some(-2.0),
        &|d| d.observations[1].series = "two\nlines".to_owned(),
        &|d| d.observations[0].x = f64::NAN,
        &|d| d.provenance.device.clear(),
    ];
    for (index, change) in changes.into_iter().enumerate() {
        let mut bad = good.clone();
        change(&mut bad);
        parquet_file::write_unchecked(&bad, &path);
        let whole = Dataset::read(&path).unwrap_err().to_string();
        let fit = Sample::read(&path, KernelTerm::Side, FlopConvention::Macs).unwrap_err();
        assert_eq!(fit.to_string(), whole, "change {index}");
        assert!(whole.contains("d.parquet, row "), "{whole}");
    }
    good.write(&path).unwrap();
    let sample = Sample::read(&path, KernelTerm::Side, FlopConvention::Macs).unwrap();
    assert_eq!(sample.len(), good.observations.len());
}

/// Any latency that validation accepts.
fn latency() -> impl Strategy<Value = Latency> {
    let positive = || 1e-3f64..1e12;
    (
        prop::option::of(positive()),
        positive(),
        prop::option::of((0.5f64..1.0, 1.0f64..2.0)),
        prop::option::of((1u64..1 << 40, 0u64..2)),
        prop::option::of((1u64..9, prop::option::of(0.0f64..2.0))),
    )
        .prop_map(|(median_ns, mean, quartiles, counts, passes)| Latency {
            median_ns,
            mean_ns: Some(mean),
            q1_ns: quartiles.map(|q| q.0 * median_ns.unwrap_or(mean)),
            q3_ns: quartiles.map(|q| q.1 * median_ns.unwrap_or(mean)),
            launches: counts.map(|c| c.0),
            outliers_mild: counts.map(|c| c.1),
            outliers_severe: counts.map(|_| 0),
            passes: passes.map(|(passes, _)| passes),
            between_pass_sd: passes.and_then(|(_, sd)| sd),
        })
}

fn dataset() -> impl Strategy<Value = Dataset> {
    let text = || "[a-zA-Z0-9×=µ,\"|'-][a-zA-Z0-9×=µ ,\"|'-]{0,12}";
    let observation = (
        text(),
        text(),
        -1e9f64..1e9,
        (1u64..500, 1u64..500, 1u64..9999, 1u64..9999, 1u64..31),
        latency(),
        prop::option::of(text()),
    )
        .prop_map(|(experiment, series, x, (h, w, i, o, k), latency, algorithm)| Observation {
            experiment,
            series,
            x,
            shape: ConvShape::new(h, w, i, o, k).unwrap(),
            latency,
            algorithm,
        });
    let provenance = (text(), text(), text(), text(), text()).prop_map(
        |(source, backend, device, versions, protocol)| Provenance {
            source,
            backend,
            device,
            versions,
            protocol,
        },
    );
    (provenance, prop::collection::vec(observation, 1..8))
        .prop_map(|(provenance, observations)| Dataset { provenance, observations })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn every_dataset_reads_back_unchanged_from_csv_and_parquet(dataset in dataset()) {
        let directory = tempfile::tempdir().unwrap();
        for name in ["d.csv", "d.parquet"] {
            let path = directory.path().join(name);
            dataset.write(&path).unwrap();
            prop_assert_eq!(&Dataset::read(&path).unwrap(), &dataset);
        }
    }

    #[test]
    fn no_csv_text_panics(text in "\\PC{0,200}") {
        let header = GOOD.lines().next().unwrap();
        let _ = read_text("d.csv", format!("{header}\n{text}\n").as_bytes());
    }
}

#[test]
fn a_method_is_the_protocol_without_how_many_launches() {
    let method = |protocol: &str| {
        let text = String::new;
        let (source, backend, device, versions) = (text(), text(), text(), text());
        let protocol = protocol.to_owned();
        Provenance { source, backend, device, versions, protocol }.method().to_owned()
    };
    for protocol in [
        "host-latency-warm",
        "host-latency-warm, profile standard",
        "host-latency-warm, profile standard, 5 passes",
        "host-latency-warm, 50 samples",
        "host-latency-warm, 50 launches after 10",
    ] {
        assert_eq!(method(protocol), "host-latency-warm");
    }
    // what ends otherwise is somebody else's, and stays whole
    for whole in ["", "cuDNN, mean of 10", "50 launches after 10", "forward, profiled"] {
        assert_eq!(method(whole), whole);
    }
}

#[test]
fn datasets_from_before_there_were_passes_are_read_and_wrong_passes_refused() {
    let new = read_text("d.csv", GOOD.as_bytes()).unwrap();
    assert!(new.observations.iter().all(|observation| observation.latency.passes.is_none()));
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("new.csv");
    new.write(&path).unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.lines().next().unwrap().ends_with(",passes,between_pass_sd"));
    assert_eq!(read_text("d.csv", text.as_bytes()).unwrap(), new);
    for (passes, expected) in [
        ("5,0.01", None),
        ("0,", Some("passes is 0, expected 1 to 2^63 − 1")),
        ("5,-1", Some("between_pass_sd is -1, expected a finite number of at least 0")),
    ] {
        let (head, rest) = text.split_once('\n').unwrap();
        let (row, rest) = rest.split_once('\n').unwrap();
        let row = format!("{}{passes}", row.strip_suffix(',').unwrap());
        let text = format!("{head}\n{row}\n{rest}");
        let read = read_text("d.csv", text.as_bytes());
        match expected {
            None => assert_eq!(read.unwrap().observations[0].latency.passes, Some(5)),
            Some(expected) => {
                let error = read.unwrap_err().to_string();
                assert!(error.contains(expected), "{error}");
            }
        }
    }
}

#[test]
fn what_spreadsheets_and_editors_make_of_a_csv_file_is_read_as_the_same() {
    let good = read_text("d.csv", GOOD.as_bytes()).unwrap();
    let rows = |delimiter: char, decimal: char| {
        GOOD.lines()
            .enumerate()
            .map(|(index, line)| {
                // the only quoted cell has the only comma that separates nothing
                let line = line.replace("\"AMD, 2 threads\"", "AMD@").replace("gemm 0.19", "gemm!");
                let line = line.replace(',', &delimiter.to_string());
                let line = if index > 0 { line.replace('.', &decimal.to_string()) } else { line };
                line.replace("AMD@", "\"AMD, 2 threads\"").replace("gemm!", "gemm 0.19") + "\r\n"
            })
            .collect::<String>()
    };
    let marked = format!("\u{FEFF}{GOOD}");
    let whole = GOOD.replace(",2000,3,1", ",2000.0,3.0,1e0").replace("150,150,50", "150.0,150,50");
    let indexed: String = GOOD
        .lines()
        .enumerate()
        .map(|(index, line)| match index {
            0 => format!(",{line},note\n"),
            _ => format!("{index},{line},\"two\nlines\"\n"),
        })
        .collect();
    for (index, bytes) in [
        rows(';', ',').into_bytes(),
        rows('\t', ',').into_bytes(),
        rows('\t', '.').into_bytes(),
        format!("sep=;\r\n{}", rows(';', ',')).into_bytes(),
        format!("sep=|\n{}", rows('|', '.')).into_bytes(),
        marked.clone().into_bytes(),
        utf16(&marked, u16::to_le_bytes),
        utf16(&marked, u16::to_be_bytes),
        utf16(GOOD, u16::to_le_bytes),
        utf16(&rows('\t', ','), u16::to_be_bytes),
        whole.into_bytes(),
        indexed.into_bytes(),
    ]
    .into_iter()
    .enumerate()
    {
        let read = read_text("d.CSV", &bytes);
        assert_eq!(read.as_ref(), Ok(&good), "file {index}: {}", String::from_utf8_lossy(&bytes));
    }
}

#[test]
fn lines_are_counted_as_editors_count_them_and_mixed_decimals_are_refused() {
    let bad = GOOD.replace("0.125", "slow");
    let crlf = bad.replace('\n', "\r\n");
    for (text, line) in [(&bad, 3), (&crlf, 3), (&format!("sep=,\r\n{crlf}"), 4)] {
        let error = read_text("d.csv", text.as_bytes()).unwrap_err();
        assert!(error.starts_with(&format!("d.csv:{line}: mean_ns is `slow`")), "{error}");
    }
    let tabs = |text: &str| text.replace("\"AMD, 2 threads\"", "AMD").replace(',', "\t");
    let mixed = tabs(GOOD).replace("0.125", "1,000");
    let error = read_text("d.csv", mixed.as_bytes()).unwrap_err();
    assert!(error.starts_with("d.csv:3: mean_ns is `1,000`, which has a decimal comma"), "{error}");
    let cut = &utf16(GOOD, u16::to_le_bytes)[..101];
    assert!(read_text("d.csv", cut).unwrap_err().contains("it begins as UTF-16"));
}

fn utf16(text: &str, unit: fn(u16) -> [u8; 2]) -> Vec<u8> {
    text.encode_utf16().flat_map(unit).collect()
}

#[test]
fn columns_that_no_dataset_has_are_named_and_those_missing_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("d.csv");
    let text =
        GOOD.replacen("source,", "__index_level_0__,source,", 1).replace("run 1,", "7,run 1,");
    std::fs::write(&path, text).unwrap();
    let (dataset, ignored) = Dataset::read_with_ignored(&path).unwrap();
    assert_eq!(dataset, read_text("d.csv", GOOD.as_bytes()).unwrap());
    assert_eq!(ignored, ["__index_level_0__"]);
    let sample = Sample::read(&path, KernelTerm::Side, FlopConvention::Macs).unwrap();
    assert_eq!(sample.ignored_columns, ignored);
}
