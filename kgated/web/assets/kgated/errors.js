/** An error that the caller can do something about; its message says what. */
export class KgatedError extends Error {
  /** @param {string} message */
  constructor(message) {
    super(message);
    this.name = 'KgatedError';
  }
}
