/**
 * ISO 8601 text from milliseconds since 1970, in UTC, as JSON of programs shows it. Pure: nobody reads a clock here.
 *
 * The civil date comes from Howard Hinnant's days_from_civil, turned round
 * (https://howardhinnant.github.io/date_algorithms.html#civil_from_days).
 */
const dayMs = 24 * 60 * 60 * 1000;
const eraDays = 146_097; // 400 years

function padded(value: number, width: number): string {
  return String(value).padStart(width, '0');
}

/** "2026-01-31T12:00:00.000Z" */
export function toIsoTime(sinceEpochMs: number): string {
  const wholeMs = Math.floor(sinceEpochMs);
  const days = Math.floor(wholeMs / dayMs);
  const ofDayMs = wholeMs - days * dayMs;
  const shifted = days + 719_468; // counted from 0000-03-01
  const era = Math.floor(shifted / eraDays);
  const dayOfEra = shifted - era * eraDays;
  const yearOfEra = Math.floor(
    (dayOfEra - Math.floor(dayOfEra / 1460) + Math.floor(dayOfEra / 36_524) - Math.floor(dayOfEra / 146_096)) / 365,
  );
  const dayOfYear = dayOfEra - (365 * yearOfEra + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100));
  const shiftedMonth = Math.floor((5 * dayOfYear + 2) / 153);
  const day = dayOfYear - Math.floor((153 * shiftedMonth + 2) / 5) + 1;
  const month = shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9;
  const year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0);
  const time = [
    padded(Math.floor(ofDayMs / 3_600_000), 2),
    padded(Math.floor(ofDayMs / 60_000) % 60, 2),
    `${padded(Math.floor(ofDayMs / 1000) % 60, 2)}.${padded(ofDayMs % 1000, 3)}`,
  ];
  return `${padded(year, 4)}-${padded(month, 2)}-${padded(day, 2)}T${time.join(':')}Z`;
}

/** Milliseconds since 1970 of what `toIsoTime` writes; NaN of anything else. */
export function fromIsoTime(text: string): number {
  const match = /^(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)\.(\d{3})Z$/.exec(text);
  if (match === null) return Number.NaN;
  const [year = 0, month = 0, day = 0, hours = 0, minutes = 0, seconds = 0, ms = 0] = match.slice(1).map(Number);
  const shiftedYear = month <= 2 ? year - 1 : year;
  const era = Math.floor(shiftedYear / 400);
  const yearOfEra = shiftedYear - era * 400;
  const dayOfYear = Math.floor((153 * (month > 2 ? month - 3 : month + 9) + 2) / 5) + day - 1;
  const dayOfEra = yearOfEra * 365 + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100) + dayOfYear;
  const days = era * eraDays + dayOfEra - 719_468;
  return days * dayMs + hours * 3_600_000 + minutes * 60_000 + seconds * 1000 + ms;
}
