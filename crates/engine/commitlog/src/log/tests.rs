//! The log from outside: what goes in comes out.

use crate::testing::*;
use crate::{AppendOutcome, LogConfig, Recovery};

#[test]
fn what_is_appended_is_read_before_and_after_a_clean_stop() {
    for config in [small(), LogConfig::default()] {
        let (_mem, disk, mut log) = fresh(&config);
        assert!(!disk.exists(log.dir()).unwrap(), "an empty log has no files");
        let mut expect = Vec::new();
        for number in 0..40 {
            let bytes = batch(&[number * 10, number * 10 + 3], 20);
            let outcome = log.append(&prepared(&bytes), epoch(1), ts(number)).unwrap();
            let AppendOutcome::Appended(at) = outcome else { panic!("{outcome:?}") };
            assert_eq!(at.base_offset, offset(number * 2));
            expect.push(at.base_offset);
            log.check_invariants();
        }
        let end = log.log_end();
        assert_eq!(flush(&mut log), end);
        let bases = |log: &mut crate::Log, from| {
            read_all(log, from, end, 500).into_iter().map(|(base, _)| base).collect::<Vec<_>>()
        };
        assert_eq!(bases(&mut log, offset(0)), expect);
        assert_eq!(bases(&mut log, offset(41)), expect[20..]);
        stop(log);
        let (mut log, report) = open(&disk, &config, &context(true, end, offset(0))).unwrap();
        assert_eq!(report, Recovery::default());
        assert_eq!(log.open_files(), 0, "a clean log opens no segment");
        assert_eq!(log.log_end(), end);
        assert_eq!(bases(&mut log, offset(0)), expect);
    }
}
