//! Made-up launches whose median is known, and how often intervals hold it.

use alpha_flops::random::random_bits;
use alpha_flops::statistics::{median_interval_ranks, sorted};
use alpha_flops_analysis::variance::dependence::Dependence;
use alpha_flops_analysis::variance::interval::median_interval;

/// The stream of a seed; seeds in a row make unrelated ones.
pub struct Random {
    seed: u64,
    index: u64,
}

impl Random {
    /// From its beginning.
    pub fn new(seed: u64) -> Self {
        Self { seed, index: 0 }
    }

    /// Uniform above 0 and up to 1.
    pub fn uniform(&mut self) -> f64 {
        let bits = random_bits(self.seed, self.index);
        self.index += 1;
        ((bits >> 11) + 1) as f64 / (1u64 << 53) as f64
    }

    /// Standard normal, by Box and Muller.
    pub fn normal(&mut self) -> f64 {
        (-2.0 * self.uniform().ln()).sqrt() * (std::f64::consts::TAU * self.uniform()).cos()
    }
}

/// How launches vary around 100 µs.
#[derive(Clone, Copy, Debug)]
pub enum Launches {
    /// ln latency is an autoregressive normal process, `φ` from launch to launch; sd 2%.
    Autoregressive(f64),
    /// ln latency rises evenly by this much over the run; sd 1%, independent.
    Drifting(f64),
    /// 30% of launches are 20% slower; sd 1%. A launch keeps the mode of the one before with a
    /// correlation of this.
    Bimodal(f64),
}

/// Those that intervals are tried on, by name.
pub const SCENARIOS: [(&str, Launches); 10] = [
    ("independent", Launches::Autoregressive(0.0)),
    ("AR(1) φ = 0.3", Launches::Autoregressive(0.3)),
    ("AR(1) φ = 0.5", Launches::Autoregressive(0.5)),
    ("AR(1) φ = 0.7", Launches::Autoregressive(0.7)),
    ("AR(1) φ = 0.9", Launches::Autoregressive(0.9)),
    ("drifting 3%", Launches::Drifting(0.03)),
    ("bimodal", Launches::Bimodal(0.0)),
    ("bimodal, sticky 0.5", Launches::Bimodal(0.5)),
    ("bimodal, sticky 0.9", Launches::Bimodal(0.9)),
    ("bimodal, sticky 0.98", Launches::Bimodal(0.98)),
];

impl Launches {
    /// `n` launches, in nanoseconds.
    pub fn draw(self, n: usize, random: &mut Random) -> Vec<f64> {
        const SLOWER: f64 = 0.3;
        let mut state = random.normal();
        let mut is_slow = random.uniform() <= SLOWER;
        let mut log = |i: usize| match self {
            Self::Autoregressive(phi) => {
                let value = 0.02 * state;
                state = phi * state + (1.0 - phi * phi).sqrt() * random.normal();
                value
            }
            Self::Drifting(rise) => {
                rise * ((i as f64 + 0.5) / n as f64 - 0.5) + 0.01 * random.normal()
            }
            Self::Bimodal(kept) => {
                let value = if is_slow { 1.2f64.ln() } else { 0.0 } + 0.01 * random.normal();
                if random.uniform() > kept {
                    is_slow = random.uniform() <= SLOWER;
                }
                value
            }
        };
        (0..n).map(|i| 1e5 * log(i).exp()).collect()
    }

    /// The median of a launch taken at any time of the run.
    pub fn median_ns(self) -> f64 {
        match self {
            Self::Autoregressive(_) | Self::Drifting(_) => 1e5,
            // half of all are 5/7 of the faster mode: the normal quantile of that
            Self::Bimodal(_) => 1e5 * (0.01 * 0.565_948_821_932_863_f64).exp(),
        }
    }
}

/// How 95% intervals did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    /// Samples drawn.
    pub all: u32,
    /// Those whose interval for independent launches held the median.
    pub held_if_independent: u32,
    /// Those with an interval that allows for dependence.
    pub given: u32,
    /// Those of them that held the median.
    pub held: u32,
    /// Intervals without a doubt.
    pub unmarked: u32,
    /// Those of them that held the median.
    pub unmarked_held: u32,
}

impl Coverage {
    /// Of samples of `n`, drawn from `seed`.
    pub fn of(launches: Launches, n: usize, samples: u32, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let mut coverage = Self::default();
        for _ in 0..samples {
            coverage.add(&launches.draw(n, &mut random), launches.median_ns());
        }
        coverage
    }

    fn add(&mut self, latencies_ns: &[f64], truth_ns: f64) {
        let ordered = sorted(latencies_ns);
        let holds = |low: f64, high: f64| u32::from(low <= truth_ns && truth_ns <= high);
        self.all += 1;
        if let Some((low, high)) = median_interval_ranks(ordered.len()) {
            self.held_if_independent += holds(ordered[low], ordered[high]);
        }
        let dependence = Dependence::new(latencies_ns, &ordered);
        let Some(interval) = median_interval(&ordered, &dependence) else { return };
        self.given += 1;
        let held = holds(interval.low_ns, interval.high_ns);
        self.held += held;
        if interval.doubt.is_none() {
            self.unmarked += 1;
            self.unmarked_held += held;
        }
    }
}
