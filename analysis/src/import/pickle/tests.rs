use proptest::prelude::*;

use super::*;

/// Written by tests/goldens/asperti_like.py.
const EXAMPLE: &[u8] = include_bytes!("../../../tests/goldens/asperti_like.pickle");

#[test]
fn what_numpy_pickles_is_read() {
    let pickle = Pickle::parse(EXAMPLE).unwrap();
    let plots = pickle.list(pickle.entry(pickle.root(), "plots").unwrap()).unwrap();
    assert_eq!(pickle.text(pickle.entry(plots[0], "name").unwrap()), Some("conv_K_vs_S"));
    let lines = pickle.list(pickle.entry(plots[0], "lines").unwrap()).unwrap();
    let rows = pickle.array::<7>(lines[0]).unwrap();
    assert_eq!(rows[1], [16.0, 16.0, 8.0, 8.0, 2.0, 2.0, 0.25]);
    assert!(pickle.array::<6>(lines[0]).is_none());
}

#[test]
fn a_pickle_that_would_run_a_command_is_refused_by_its_name() {
    // what pickle.dumps gives for an object whose __reduce__ is (os.system, ("echo",))
    let protocol_0 = b"cposix\nsystem\np0\n(Vecho\np1\ntp2\nRp3\n.".as_slice();
    let protocol_4 = b"\x80\x04\x95\x1c\0\0\0\0\0\0\0\x8c\x05posix\x94\x8c\x06system\x94\x93\x94\
        \x8c\x04echo\x94\x85\x94R\x94.";
    for (malicious, offset) in [(protocol_0, 0), (protocol_4.as_slice(), 28)] {
        let error = Pickle::parse(malicious).unwrap_err();
        assert_eq!(error, PickleError::Global { offset, name: "posix.system".into() });
    }
    let builtin = Pickle::parse(b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93.").unwrap_err();
    assert!(builtin.to_string().contains("asks for `builtins.eval`; nothing was executed"));
}

#[test]
fn other_opcodes_and_nonsense_are_refused_where_they_stand() {
    // INST, NEWOBJ, persistent id, extension registry
    for code in [b'i', 0x81, b'Q', 0x82] {
        assert_eq!(Pickle::parse(&[code]).unwrap_err(), PickleError::Opcode { offset: 0, code });
    }
    assert_eq!(Pickle::parse(b"\x80\x04K").unwrap_err(), PickleError::Truncated { offset: 3 });
    for malformed in [b".".as_slice(), b"t", b"(.", b"Na", b"h\x07", b"K\x01K\x02R", b"\x80\x09"] {
        let error = Pickle::parse(malformed).unwrap_err();
        assert!(matches!(error, PickleError::Malformed { .. }), "{error}");
    }
    // a length far beyond the input allocates nothing
    let huge = [b"\x96".as_slice(), &u64::MAX.to_le_bytes()].concat();
    assert_eq!(Pickle::parse(&huge).unwrap_err(), PickleError::Truncated { offset: 9 });
}

#[test]
fn a_list_that_holds_itself_is_harmless() {
    let pickle = Pickle::parse(b"]\x94h\x00a.").unwrap();
    let list = pickle.list(pickle.root()).unwrap();
    assert_eq!(pickle.list(list[0]).unwrap().len(), 1);
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Pickle::parse(&bytes);
    }

    #[test]
    fn random_programs_of_known_opcodes_never_panic(
        codes in prop::collection::vec(
            prop::sample::select(b"(NKMJGX}])taesuhjcRb.\x85\x86\x87\x88\x8c\x93\x94\x96\0\x01".to_vec()),
            0..60,
        )
    ) {
        let _ = Pickle::parse(&codes);
    }

    #[test]
    fn damaged_pickles_never_panic(
        damage in prop::collection::vec((0..EXAMPLE.len(), any::<u8>()), 1..4),
        end in 0..EXAMPLE.len(),
    ) {
        let mut bytes = EXAMPLE.to_vec();
        for (position, byte) in damage {
            bytes[position] = byte;
        }
        let _ = Pickle::parse(&bytes);
        let _ = Pickle::parse(&bytes[..end]);
    }
}
