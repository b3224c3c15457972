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
