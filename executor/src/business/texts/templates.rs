//! Which approved text stands for which words at Kakao.

use std::collections::BTreeMap;

use crate::providers::message::{Language, Template};

use super::Subject;
use super::facts::Facts;

/// What a template may be filled with.
pub const TEMPLATE_FIELDS: [&str; 8] =
    ["sender", "recipient", "product", "brand", "price", "message", "send_at", "expires_at"];

/// Kakao cuts or refuses longer ones.
const VARIABLE_CHARS_MAX: usize = 500;

/// An approved text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateConfig {
    /// The provider's name for it, 1 to 100 characters.
    pub id: String,
    /// Names of its gaps, without decoration, and which of [`TEMPLATE_FIELDS`] goes into each.
    pub variables: BTreeMap<String, String>,
}

/// The approved texts there are. Where there is none for a subject in a language, the next channel is tried: Kakao takes nothing else.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Templates(BTreeMap<(Subject, Language), TemplateConfig>);

impl Templates {
    /// None.
    pub fn new() -> Self {
        Templates::default()
    }

    /// With this one too.
    ///
    /// # Errors
    ///
    /// When a gap is to be filled with something there is not: the names of the gap and of what was wanted.
    pub fn with(mut self, subject: Subject, language: Language, template: TemplateConfig) -> Result<Self, String> {
        if !(1..=100).contains(&template.id.chars().count()) {
            return Err("id: 1 to 100 characters expected".to_owned());
        }
        for (gap, field) in &template.variables {
            if !TEMPLATE_FIELDS.contains(&field.as_str()) {
                return Err(format!("variables.{gap}: one of {} expected, not {field:?}", TEMPLATE_FIELDS.join(", ")));
            }
        }
        self.0.insert((subject, language), template);
        Ok(self)
    }

    pub(crate) fn fill(&self, subject: Subject, language: Language, facts: &Facts) -> Option<Template> {
        let template = self.0.get(&(subject, language))?;
        let variables = template.variables.iter().map(|(gap, field)| {
            let value = facts.field(field).unwrap_or_default();
            // A gap that is left empty makes Kakao refuse the message.
            let value = if value.is_empty() { "-" } else { value };
            (gap.clone(), value.chars().take(VARIABLE_CHARS_MAX).collect())
        });
        Some(Template { id: template.id.clone(), variables: variables.collect() })
    }
}
