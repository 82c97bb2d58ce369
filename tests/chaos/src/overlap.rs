//! What goes on beside a fault, from before it until after it is healed: faults seldom come alone.

use std::fmt;
use std::time::Duration;

use harness::Result;
use rand::RngExt;
use rand::rngs::StdRng;

use crate::faults::Fault;
use crate::nemesis::{MEMBERS, World, others};
use crate::switch::Line;

/// Something that is wrong meanwhile, and that nobody has to be brought back from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Beside {
    /// All lines between members are late and lose packets.
    BadWeather,
    /// An executor is gone with what it held.
    NoExecutor,
    /// One member's wall clock is off by up to a minute.
    WrongClock,
}

impl Beside {
    /// One that is not of the same kind as the fault, and no wrong clock where none can be set; now and then none.
    #[must_use]
    pub fn draw(fault: Fault, clocks: bool, dice: &mut StdRng) -> Option<Beside> {
        let drawn = match dice.random_range(0..4) {
            0 => Beside::BadWeather,
            1 => Beside::NoExecutor,
            2 => Beside::WrongClock,
            _ => return None,
        };
        let same = match drawn {
            Beside::BadWeather => fault == Fault::BadNetwork,
            Beside::NoExecutor => fault == Fault::KillExecutor,
            // A majority of clocks has to be right.
            Beside::WrongClock => fault == Fault::ClockStep || !clocks,
        };
        (!same).then_some(drawn)
    }

    /// As it is written in the table.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Beside::BadWeather => "over bad lines",
            Beside::NoExecutor => "an executor gone",
            Beside::WrongClock => "a clock wrong",
        }
    }
}

impl fmt::Display for Beside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl World {
    /// Begins.
    ///
    /// # Errors
    ///
    /// When a clock cannot be set.
    pub fn begin(&mut self, beside: Beside) -> Result<()> {
        match beside {
            Beside::BadWeather => {
                let line = Line {
                    cut: false,
                    delay: Duration::from_millis(self.dice.random_range(1..10)),
                    jitter: Duration::from_millis(self.dice.random_range(0..10)),
                    loss_per_mille: self.dice.random_range(1..20),
                };
                self.set_weather(line);
            }
            Beside::NoExecutor => self.workload.kill_executor(),
            Beside::WrongClock => {
                let node = self.anyone();
                // So far that no leader believes it, however long it is without the others.
                let seconds = self.dice.random_range(20..60) * if self.dice.random_bool(0.5) { 1 } else { -1 };
                if let Some(clock) = self.clocks.get(usize::from(node) - 1) {
                    clock.set(seconds)?;
                }
            }
        }
        Ok(())
    }

    /// Ends.
    ///
    /// # Errors
    ///
    /// When a clock cannot be set, or no executor can be started.
    pub async fn end(&mut self, beside: Beside) -> Result<()> {
        match beside {
            Beside::BadWeather => self.set_weather(Line::default()),
            Beside::NoExecutor => self.workload.start_executor().await?,
            Beside::WrongClock => self.clocks.iter().try_for_each(|clock| clock.set(0))?,
        }
        Ok(())
    }

    fn set_weather(&self, line: Line) {
        for from in MEMBERS {
            others(from).into_iter().for_each(|to| self.network.switch().set_weather(from, to, line));
        }
    }
}
