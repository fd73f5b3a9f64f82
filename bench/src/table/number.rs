//! Numbers as short as they can be read.

/// `980`, `45k`, `1.23M`; small ones with three digits: `94.3`, `1.15`.
pub fn short(value: f64) -> String {
    let (scaled, unit) = match value.abs() {
        of if of < 999.5 => (value, ""),
        of if of < 999_500.0 => (value / 1e3, "k"),
        of if of < 999_500_000.0 => (value / 1e6, "M"),
        _ => (value / 1e9, "G"),
    };
    let decimals = match (scaled.abs(), unit) {
        (of, _) if of == of.trunc() && unit.is_empty() => 0,
        (of, "k") => usize::from(of < 9.95),
        (of, _) if of < 9.995 => 2,
        (of, _) if of < 99.95 => 1,
        _ => 0,
    };
    format!("{scaled:.decimals$}{unit}")
}

/// `1.74x`, `28.2x`, `208x`; `<0.01x`.
pub fn ratio(value: f64) -> String {
    match value {
        of if of > 0.0 && of < 0.005 => "<0.01x".into(),
        of if of < 9.995 => format!("{of:.2}x"),
        of if of < 99.95 => format!("{of:.1}x"),
        of => format!("{}x", short(of)),
    }
}

/// `430ns`, `1.6us`, `4.0ms`, `1.2s`.
pub fn duration(ns: f64) -> String {
    let (scaled, unit) = match ns {
        of if of < 999.5 => return format!("{of:.0}ns"),
        of if of < 999_500.0 => (of / 1e3, "us"),
        of if of < 999_500_000.0 => (of / 1e6, "ms"),
        of => (of / 1e9, "s"),
    };
    let decimals = usize::from(scaled < 99.95);
    format!("{scaled:.decimals$}{unit}")
}

/// `980B`, `16K`, `1.2M`, `149M`, `2.0G`, in powers of 1024.
pub fn bytes(bytes: f64) -> String {
    let mut scaled = bytes;
    let mut units = ["B", "K", "M", "G", "T"].into_iter();
    let mut unit = units.next().unwrap_or_default();
    for larger in units {
        if scaled < 999.5 {
            break;
        }
        (scaled, unit) = (scaled / 1024.0, larger);
    }
    let decimals = usize::from(scaled < 9.95 && unit != "B");
    format!("{scaled:.decimals$}{unit}")
}

/// `12%`; `0.4%` below one.
pub fn percent(share: f64) -> String {
    let percent = share * 100.0;
    let decimals = usize::from(percent > 0.0 && percent < 0.95);
    format!("{percent:.decimals$}%")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_short() {
        let cases = [
            (0.0, "0"),
            (1.15, "1.15"),
            (9.996, "10.0"),
            (94.33, "94.3"),
            (980.0, "980"),
            (999.6, "1.0k"),
            (4_321.0, "4.3k"),
            (9_960.0, "10k"),
            (45_210.0, "45k"),
            (999_600.0, "1.00M"),
            (1_234_000.0, "1.23M"),
            (20_880_000.0, "20.9M"),
            (123_400_000.0, "123M"),
            (2_500_000_000.0, "2.50G"),
        ];
        for (value, expected) in cases {
            assert_eq!(short(value), expected, "{value}");
        }
    }

    #[test]
    fn ratios_keep_three_digits() {
        let cases = [(0.0, "0.00x"), (0.001, "<0.01x"), (0.45, "0.45x"), (28.15, "28.1x"), (207.97, "208x")];
        for (value, expected) in cases {
            assert_eq!(ratio(value), expected, "{value}");
        }
    }

    #[test]
    fn durations_have_the_unit_that_fits() {
        let cases = [
            (430.0, "430ns"),
            (1_600.0, "1.6us"),
            (999_600.0, "1.0ms"),
            (1.2e9, "1.2s"),
            (122_600.0, "123us"),
        ];
        for (ns, expected) in cases {
            assert_eq!(duration(ns), expected, "{ns}");
        }
    }

    #[test]
    fn bytes_are_in_powers_of_1024() {
        let cases =
            [(0.0, "0B"), (980.0, "980B"), (1_023.0, "1.0K"), (16_384.0, "16K"), (156_237_824.0, "149M")];
        for (value, expected) in cases {
            assert_eq!(bytes(value), expected, "{value}");
        }
    }

    #[test]
    fn shares_are_per_cent() {
        assert_eq!([percent(0.0), percent(0.004), percent(0.123)], ["0%", "0.4%", "12%"]);
    }
}
