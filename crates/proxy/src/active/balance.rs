//! Which endpoint is next. Pure: what is random is given.

use palisade_model::Balance;
use smallvec::SmallVec;

/// What there is to choose from.
pub(super) struct Choice<'a, Load, Out> {
    /// How many endpoints there are.
    pub(super) count: usize,
    pub(super) balance: Balance,
    /// Counts choices up.
    pub(super) turn: usize,
    /// Endpoints that have been tried already: others come first.
    pub(super) tried: &'a [usize],
    /// Requests under way at an endpoint.
    pub(super) load: Load,
    /// Whether an endpoint is left alone; none: no endpoint is.
    pub(super) is_out: Option<Out>,
    /// Of a hundred endpoints, how many must be left for that to count.
    pub(super) min_healthy_percent: usize,
}

impl<Load: Fn(usize) -> u32, Out: Fn(usize) -> bool> Choice<'_, Load, Out> {
    /// The place of the next endpoint; `below` gives a random number below another.
    pub(super) fn make(&self, below: impl FnMut(usize) -> usize) -> Option<usize> {
        if self.is_out.is_none() && self.tried.is_empty() {
            return self.among(self.count, |place| place, below);
        }
        let all = || (0..self.count).collect::<Places>();
        let mut left = match &self.is_out {
            None => all(),
            Some(is_out) => (0..self.count).filter(|place| !is_out(*place)).collect(),
        };
        if left.len() * 100 < self.count * self.min_healthy_percent {
            left = all();
        }
        let untried: Places =
            left.iter().copied().filter(|place| !self.tried.contains(place)).collect();
        let places = if untried.is_empty() { left } else { untried };
        self.among(places.len(), |index| places.get(index).copied().unwrap_or_default(), below)
    }

    fn among(
        &self,
        count: usize,
        at: impl Fn(usize) -> usize,
        mut below: impl FnMut(usize) -> usize,
    ) -> Option<usize> {
        if count < 2 {
            return (count == 1).then(|| at(0));
        }
        Some(match self.balance {
            Balance::RoundRobin => at(self.turn % count),
            Balance::Random => at(below(count)),
            Balance::LeastRequest => {
                let first = below(count);
                let second = below(count - 1);
                // Another one than the first.
                let second = second + usize::from(second >= first);
                let (first, second) = (at(first), at(second));
                if (self.load)(second) < (self.load)(first) { second } else { first }
            }
        })
    }
}

type Places = SmallVec<[usize; 16]>;

#[cfg(test)]
mod tests {
    use palisade_telemetry::SplitMix64;

    use super::*;

    struct Scene {
        balance: Balance,
        loads: Vec<u32>,
        out: Vec<usize>,
        tried: Vec<usize>,
        min_healthy_percent: usize,
    }

    impl Scene {
        /// Random, and the same for the same seed.
        fn random(seed: u64) -> Self {
            let mut numbers = SplitMix64::new(seed);
            let count = numbers.below(12);
            let mut some =
                |most: usize| (0..count).filter(|_| numbers.below(10) < most).collect::<Vec<_>>();
            let (out, tried) = (some(3), some(2));
            let loads = (0..count).map(|_| u32::try_from(numbers.below(4)).unwrap()).collect();
            let all = [Balance::LeastRequest, Balance::Random, Balance::RoundRobin];
            let balance = all[numbers.below(3)];
            let min_healthy_percent = if numbers.below(2) == 0 { 0 } else { numbers.below(101) };
            Self { balance, loads, out, tried, min_healthy_percent }
        }

        fn choice(&self, turn: usize) -> Choice<'_, impl Fn(usize) -> u32, impl Fn(usize) -> bool> {
            Choice {
                count: self.loads.len(),
                balance: self.balance,
                turn,
                tried: &self.tried,
                load: |place| self.loads[place],
                is_out: (!self.out.is_empty()).then_some(|place| self.out.contains(&place)),
                min_healthy_percent: self.min_healthy_percent,
            }
        }

        /// What may be chosen, said in the plainest way.
        fn allowed(&self) -> Vec<usize> {
            let all: Vec<usize> = (0..self.loads.len()).collect();
            let mut left = all.clone();
            left.retain(|place| !self.out.contains(place));
            if left.len() * 100 < all.len() * self.min_healthy_percent {
                left = all;
            }
            let untried: Vec<usize> =
                left.iter().copied().filter(|place| !self.tried.contains(place)).collect();
            if untried.is_empty() { left } else { untried }
        }
    }

    #[test]
    fn only_what_is_left_is_chosen_and_all_of_it_and_never_the_busiest() {
        for seed in 0..600 {
            let (scene, mut numbers) = (Scene::random(seed), SplitMix64::new(seed));
            let allowed = scene.allowed();
            let mut chosen = vec![0_usize; scene.loads.len()];
            for turn in 0..allowed.len() * 60 {
                let place = scene.choice(turn).make(|bound| numbers.below(bound)).unwrap();
                assert!(allowed.contains(&place), "{seed}: {place} of {allowed:?}");
                chosen[place] += 1;
            }
            if allowed.is_empty() {
                assert_eq!(scene.choice(0).make(|_| 0), None, "{seed}");
            }
            let busiest = allowed.iter().map(|place| scene.loads[*place]).max();
            for place in &allowed {
                // Of two, the busier one loses: one that is busier than all others never wins.
                let alone = allowed.iter().filter(|it| Some(scene.loads[**it]) == busiest).count();
                let loses = scene.balance == Balance::LeastRequest
                    && allowed.len() > 1
                    && alone == 1
                    && Some(scene.loads[*place]) == busiest;
                assert_eq!(chosen[*place] == 0, loses, "{seed}: {place}, {chosen:?}");
            }
        }
    }

    #[test]
    fn requests_that_stay_are_spread_evenly() {
        let mut numbers = SplitMix64::new(7);
        let mut scene = Scene {
            balance: Balance::LeastRequest,
            loads: vec![0; 10],
            out: Vec::new(),
            tried: Vec::new(),
            min_healthy_percent: 0,
        };
        for turn in 0..10_000 {
            let place = scene.choice(turn).make(|bound| numbers.below(bound)).unwrap();
            scene.loads[place] += 1;
        }
        // Two choices keep the fullest within a few of the mean, where one choice is off by about a hundred.
        assert!(scene.loads.iter().all(|load| load.abs_diff(1000) <= 5), "{:?}", scene.loads);
    }
}
