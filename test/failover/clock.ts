/** Prints the machine's monotonic time in milliseconds, by which histories are written. */
console.log(Number(process.hrtime.bigint()) / 1e6);
