//! The final table, and the curves as CSV.

use std::fmt::Write;

use crate::train::Curve;

/// What the runs are measured against.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Baseline {
    /// Loss of the bigram model.
    pub(crate) bigram: f64,
}

/// The run whose final loss is the mark for the others: AdamW's.
fn mark(curves: &[Curve]) -> Option<&Curve> {
    let named = |name| curves.iter().find(|curve: &&Curve| curve.name == name);
    named("adamw").or_else(|| named("libtorch-adamw"))
}

/// One line per run, under a heading.
pub(crate) fn table(curves: &[Curve], baseline: Baseline) -> String {
    let mark = mark(curves);
    let against = mark.map_or("-".to_string(), |m| format!("to {:.3}", m.last().loss));
    let mut out = format!(
        "{:<16} {:>6} {:>8} {:>8} {:>10} {:>9} {:>10} {:>9} {:>8}\n",
        "optimizer",
        "steps",
        "start",
        "final",
        against,
        "seconds",
        "ms/update",
        "tokens/s",
        "seconds"
    );
    for curve in curves {
        let reached = mark.and_then(|mark| curve.reaches(mark.last().loss));
        let (steps, seconds) = reached.map_or(("never".to_string(), "-".to_string()), |point| {
            (point.step.to_string(), format!("{:.1}", point.seconds))
        });
        let (first, last) = (curve.points[0], curve.last());
        let _ = writeln!(
            out,
            "{:<16} {:>6} {:>8.3} {:>8.3} {steps:>10} {seconds:>9} {:>10.2} {:>9.0} {:>8.1}",
            curve.name,
            last.step,
            first.loss,
            last.loss,
            curve.step_ms,
            curve.tokens_per_second,
            last.seconds
        );
    }
    let _ = writeln!(
        out,
        "{:<16} {:>6} {:>8} {:>8.3}",
        "bigram counts", "-", "-", baseline.bigram
    );
    out
}

/// Every evaluation: `optimizer,step,seconds,loss`.
pub(crate) fn csv(curves: &[Curve]) -> String {
    let mut out = String::from("optimizer,step,seconds,loss\n");
    for curve in curves {
        for point in &curve.points {
            let _ = writeln!(
                out,
                "{},{},{:.3},{:.5}",
                curve.name, point.step, point.seconds, point.loss
            );
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::Point;

    fn curve(name: &str, losses: &[f64]) -> Curve {
        let point = |(i, &loss): (usize, &f64)| Point {
            step: 10 * i,
            seconds: i as f64,
            loss,
        };
        Curve {
            name: name.into(),
            points: losses.iter().enumerate().map(point).collect(),
            step_ms: 1.5,
            tokens_per_second: 1000.0,
            sample: String::new(),
        }
    }

    #[test]
    fn the_table_says_when_a_run_reached_the_mark() {
        let curves = [
            curve("soap", &[4.0, 2.0, 1.0]),
            curve("adamw", &[4.0, 3.0, 2.0]),
            curve("sgd", &[4.0, 3.5]),
        ];
        let table = table(&curves, Baseline { bigram: 2.5 });
        let column = |row: usize| {
            table
                .lines()
                .nth(row)
                .unwrap()
                .split_whitespace()
                .nth(4)
                .unwrap()
                .to_string()
        };
        assert_eq!([column(1), column(2), column(3)], ["10", "20", "never"]);
    }

    #[test]
    fn csv_has_a_row_per_evaluation() {
        let text = csv(&[curve("soap", &[4.0, 2.0])]);
        assert_eq!(
            text,
            "optimizer,step,seconds,loss\nsoap,0,0.000,4.00000\nsoap,10,1.000,2.00000\n"
        );
    }
}
